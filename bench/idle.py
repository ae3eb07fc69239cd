"""What a hot container costs: the time to make it, and the memory while it waits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bench import engine
from bench.client import CallFailed, Interpreter
from bench.progress import Progress
from bench.records import NotReady, Records
from bench.report import Measured, Memory, Start
from bench.summary import Times

MAPPING = re.compile(
    r"[0-9a-f]+-[0-9a-f]+ \S+ (?P<offset>[0-9a-f]+) (?P<device>[0-9a-f:]+) (?P<inode>\d+)"
)


def start(interpreter: Interpreter, records: Records, *, rounds: int, progress: Progress) -> Start:
    """Each new session takes a container from the pool, for which the keeper starts another. It
    starts when the run is still going on, so the run is a short one."""
    times = Times()
    records.wait_for_pool()
    since = records.now()
    for number in range(rounds):
        try:
            interpreter.execute("bash", ":")
            records.wait_for_pool()
        except (CallFailed, NotReady) as error:
            times.errors[str(error)] += 1
        progress.update(f"start: container {number + 1} of {rounds}")
    for seconds in records.start_seconds(since):
        times.add(seconds)
    return Start(times=Measured.of(times))


def memory(records: Records) -> Memory:
    records.wait_for_pool()
    waiting = records.warm_containers()
    if not waiting:
        raise NotReady("no container waits, with SANDBOX_POOL_SIZE=0")
    container = engine.container_of(engine.connect(), waiting[0])
    processes = [Path(f"/proc/{pid}") for pid in engine.process_ids(container)]
    processes = [process for process in processes if has_memory(process)]
    rollups = [figures((process / "smaps_rollup").read_text()) for process in processes]
    anonymous = sum(rollup["Pss_Anon"] for rollup in rollups)
    files = file_kib([(process / "smaps").read_text() for process in processes])
    return Memory(
        processes=len(processes),
        pss_mb=in_mb(sum(rollup["Pss"] for rollup in rollups)),
        anonymous_mb=in_mb(anonymous),
        alone_mb=in_mb(anonymous + files),
        charged_mb=charged_mb(processes[0]),
    )


def has_memory(process: Path) -> bool:
    """Not so a zombie. What other threads of its have is the memory of one that is counted."""
    return not (process / "statm").read_text().startswith("0 ")


def figures(rollup: str) -> dict[str, int]:
    """Of /proc/PID/smaps_rollup, in KiB."""
    found = {}
    for line in rollup.splitlines():
        name, _, rest = line.partition(":")
        if rest.endswith(" kB"):
            found[name] = int(rest.split()[0])
    return found


def file_kib(smaps: Sequence[str]) -> int:
    """Of files that the processes have in memory, each part once. In the PSS other containers of
    the same image carry a part of it, the more of them there are."""
    parts: dict[tuple[str, str, str], int] = {}
    for text in smaps:
        part, resident = None, 0
        for line in text.splitlines():
            if mapping := MAPPING.match(line):
                offset, device, inode = mapping.groups()
                part = (device, inode, offset) if inode != "0" else None
            elif part and line.startswith("Rss:"):
                resident = int(line.split()[1])
            elif part and line.startswith("Anonymous:"):
                # Changed pages of a private mapping are the process's own.
                shared = resident - int(line.split()[1])
                parts[part] = max(parts.get(part, 0), shared)
    return sum(parts.values())


def charged_mb(process: Path) -> float | None:
    """What counts against the container's limit: its tmpfs files and page cache as well."""
    for line in (process / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for usage in (
            Path(f"/sys/fs/cgroup/memory{path}/memory.usage_in_bytes"),
            Path(f"/sys/fs/cgroup{path}/memory.current"),
        ):
            if controllers in ("memory", "") and usage.exists():
                return in_mb(int(usage.read_text()) / 1024)
    return None


def in_mb(kib: float) -> float:
    return round(kib / 1024, 1)
