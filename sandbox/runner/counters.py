"""What the kernel counts: for the container, how often it was at the end of its memory or of its
processes; for a process, its time."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from functools import cache

# Each in version 2 of cgroups, then in version 1.
MEMORY = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
PROCESS_LIMIT = ("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max")
MEMORY_USED = (
    "/sys/fs/cgroup/memory.current",
    "/sys/fs/cgroup/memory/memory.usage_in_bytes",
)
MEMORY_LIMIT = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
PIDS = ("/sys/fs/cgroup/pids.events", "/sys/fs/cgroup/pids/pids.events")


def oom_kills() -> int:
    """Of how many processes, for want of memory."""
    return _read(MEMORY, b"oom_kill")


def refused_forks() -> int:
    """How many processes or threads were not made, since there were too many."""
    return _read(PIDS, b"max")


def process_limit() -> float:
    """How many processes and threads there can be at once."""
    return _number(PROCESS_LIMIT)


def memory_limit_bytes() -> float:
    return _number(MEMORY_LIMIT)


def memory_used_bytes() -> float:
    """Files in memory, and copies of other files that could go, are a part of it."""
    return _number(MEMORY_USED)


def _number(paths: tuple[str, ...]) -> float:
    """Infinity where the kernel has none, or does not tell."""
    for path in paths:
        with suppress(OSError, ValueError), open(path, "rb") as file:
            return int(file.read())
    return math.inf


def cpu_seconds_of(pid: int) -> float:
    """Of a process that has not been reaped; 0 where the kernel does not tell."""
    try:
        with open(f"/proc/{pid}/schedstat", "rb") as file:
            return int(file.read().split()[0]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _read(paths: tuple[str, ...], counter: bytes) -> int:
    file = _open(paths)
    if file is not None:
        for line in os.pread(file, 4096, 0).splitlines():
            key, _, value = line.partition(b" ")
            if key == counter:
                return int(value)
    return 0


@cache
def _open(paths: tuple[str, ...]) -> int | None:
    """Kept open: it is looked at before and after each run."""
    for path in paths:
        with suppress(OSError):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return None
