from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

KIB_PER_GIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Machine:
    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    engine: str
    python: str
    # Of the minute before: whether anybody else was at work.
    load_before: float


def this_machine(engine: str) -> Machine:
    return Machine(
        cpu=field_of(Path("/proc/cpuinfo"), "model name") or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(
            int(field_of(Path("/proc/meminfo"), "MemTotal").split()[0]) / KIB_PER_GIB, 1
        ),
        kernel=f"{platform.system()} {platform.release()}",
        engine=engine,
        python=platform.python_version(),
        load_before=round(os.getloadavg()[0], 2),
    )


def field_of(path: Path, name: str) -> str:
    """The first `name: value` line's value."""
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
