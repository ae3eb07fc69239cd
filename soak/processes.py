"""What the service's processes hold, as the kernel counts it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
KIB_PER_MIB = 1024


@dataclass(frozen=True, slots=True)
class Held:
    """Of one process, or of several together."""

    rss_mb: float = 0.0
    # Without what it shares with others: Postgres's processes all have one cache in common.
    own_mb: float = 0.0
    descriptors: int = 0
    threads: int = 0

    def __add__(self, other: Held) -> Held:
        return Held(
            round(self.rss_mb + other.rss_mb, 2),
            round(self.own_mb + other.own_mb, 2),
            self.descriptors + other.descriptors,
            self.threads + other.threads,
        )


def held_by(pids: list[int]) -> Held:
    return sum((_held(pid) for pid in pids), Held())


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found = [pid]
    for each in found:
        try:
            listed = (PROC / f"{each}/task/{each}/children").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += map(int, listed.split())
    return found


def named(name: str) -> list[int]:
    """Of whomever; only to be shown."""
    found = []
    for path in PROC.glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == name:
                found.append(int(path.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _held(pid: int) -> Held:
    """Nothing, once it has ended."""
    try:
        lines = (PROC / f"{pid}/status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines)
        return Held(
            rss_mb=_mb(status.get("VmRSS", "")),
            own_mb=_mb(status.get("RssAnon", "")),
            descriptors=_descriptors(pid),
            threads=int(status["Threads"]),
        )
    except (FileNotFoundError, ProcessLookupError):
        return Held()


def _descriptors(pid: int) -> int:
    try:
        return len(list((PROC / f"{pid}/fd").iterdir()))
    except PermissionError:
        # Another user's, as dockerd's is for all but root.
        return 0


def _mb(field: str) -> float:
    return round(int(field.split()[0]) / KIB_PER_MIB, 2) if field else 0.0
