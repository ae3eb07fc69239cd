"""What PID 1 may do, and how a process stops being able to do it."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path

SANDBOX_UID = 10001

PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAPABILITY_VERSION_3 = 0x20080522
CAP_KILL, CAP_SETGID, CAP_SETUID = 5, 6, 7

_libc = ctypes.CDLL(None, use_errno=True)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilitySets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def confine_self() -> None:
    """Keep no more than is needed to change to the sandbox's uid and to kill its processes.

    Programs get nothing at all: without a bounding set no file or exec can give them anything.
    PID 1 cannot be read or traced by them, whatever its memory holds.
    """
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        _prctl(PR_CAPBSET_DROP, capability)
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _prctl(PR_SET_DUMPABLE, 0)
    needed = 1 << CAP_KILL | 1 << CAP_SETGID | 1 << CAP_SETUID
    header = _CapabilityHeader(CAPABILITY_VERSION_3, 0)
    # Capabilities from 32 on have a set of their own.
    sets = (_CapabilitySets * 2)(_CapabilitySets(needed, needed, 0), _CapabilitySets(0, 0, 0))
    if _libc.capset(ctypes.byref(header), sets):
        raise _error("capset")


def become_sandbox_user() -> None:
    """For good: all three ids change, and with them go all capabilities."""
    os.setgroups([])
    os.setresgid(SANDBOX_UID, SANDBOX_UID, SANDBOX_UID)
    os.setresuid(SANDBOX_UID, SANDBOX_UID, SANDBOX_UID)
    os.umask(0o022)


def sacrifice_self() -> None:
    """When memory runs out, the kernel is to take this process and not PID 1."""
    Path("/proc/self/oom_score_adj").write_text("1000")


def limit_self(cpu_seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    # No core dump. With 0 the kernel would still hand it to a program of the host, if its
    # core_pattern names one.
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def kill_sandbox_processes() -> None:
    """Kill every process of the sandbox's uid, at once and without a fork of our own.

    The kernel signals them all under the lock that a fork needs, and a fork with a signal pending
    starts over: so no storm of forks outruns this, and it works at the limit of processes. The
    effective uid keeps it from anything else that may run in the container.
    """
    os.seteuid(SANDBOX_UID)
    try:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(-1, signal.SIGKILL)
    finally:
        os.seteuid(0)


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, argument, 0, 0, 0):
        raise _error(f"prctl {option}")


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
