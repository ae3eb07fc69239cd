"""What /proc tells of processes that are to be gone."""

from __future__ import annotations

import os
from collections.abc import Set

# In /proc/PID/stat after the state: the kernel's flags, and which of them say that it is ending,
# and that it was forked and has not executed anything since; and how many threads there are.
FLAGS, EXITING, NOT_EXECUTED, THREADS = 5, 0x4, 0x40, 16


def processes_of(uids: Set[int], *, but: Set[int | None]) -> tuple[set[int], set[int]]:
    """Those that may still run, or wait to be reaped; and those that are ending: they can run no
    more, the kernel only takes down their memory."""
    running: set[int] = set()
    dying: set[int] = set()
    for name in os.listdir("/proc"):
        if name.isdecimal() and int(name) not in but and not uids.isdisjoint(_uids_of(name, uids)):
            (dying if _is_dying(name) else running).add(int(name))
    return running, dying


def has_executed(pid: int) -> bool:
    """Since it was forked."""
    try:
        return not _stat(f"/proc/{pid}/stat")[1][FLAGS] & NOT_EXECUTED
    except OSError:
        return False


def _uids_of(pid: str, sought: Set[int]) -> set[int]:
    """The one that its files in /proc are of, and if that is not sought, its real one."""
    try:
        owner = os.stat(f"/proc/{pid}").st_uid
        if owner in sought:
            return {owner}
        for line in _read(f"/proc/{pid}/status").splitlines():
            if line.startswith(b"Uid:"):
                return {owner, int(line.split()[1])}
        return {owner}
    except (FileNotFoundError, ProcessLookupError):
        return set()


def _is_dying(pid: str) -> bool:
    """Whether all its threads are on their way out, but not yet there to be reaped."""
    try:
        state, fields = _stat(f"/proc/{pid}/stat")
        if fields[THREADS] == 1:
            return state != b"Z" and bool(fields[FLAGS] & EXITING)
        for thread in os.listdir(f"/proc/{pid}/task"):
            state, fields = _stat(f"/proc/{pid}/task/{thread}/stat")
            if state == b"Z" or not fields[FLAGS] & EXITING:
                return False
        return True
    except (FileNotFoundError, ProcessLookupError):
        return False


def _stat(path: str) -> tuple[bytes, list[int]]:
    """The state of a process or thread, and the numbers after it."""
    # Its name may be anything.
    state, *fields = _read(path).rpartition(b") ")[2].split()
    return state, [int(field) for field in fields]


def _read(path: str) -> bytes:
    """Less than 4 KiB, which the kernel gives at once."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, 4096)
    finally:
        os.close(file)
