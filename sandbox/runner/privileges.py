"""What PID 1 may do, and how a process stops being able to do it."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import NamedTuple

from .layout import Layout

# Of programs where the workspace is nobody's in particular.
DEFAULT_UID = 10001


def _owner(workspace: str) -> int:
    """The engine gives each container's workspace to a user of its own: some things the kernel
    counts by user, and one container is not to use up what others need."""
    with suppress(FileNotFoundError):
        return os.stat(workspace).st_uid or DEFAULT_UID
    return DEFAULT_UID


SANDBOX_UID = _owner(Layout().workspace)
# Of the preloaded interpreter: programs can do nothing to it, nor it to anything.
ZYGOTE_UID = SANDBOX_UID + 1
# Of a helper that waits for its task.
HELPER_UID = SANDBOX_UID + 2

PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAPABILITY_VERSION_3 = 0x20080522
CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SETPCAP = 5, 6, 7, 8
NEEDED = 1 << CAP_KILL | 1 << CAP_SETGID | 1 << CAP_SETUID

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
    # Inheritable for the zygote, which needs them after its exec; the kernel lets nobody add to
    # that set what is no longer in the bounding set.
    _set_capabilities(NEEDED | 1 << CAP_SETPCAP, inheritable=NEEDED)
    _drop_bounding_set()
    _clear_ambient_set()
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _prctl(PR_SET_DUMPABLE, 0)
    _set_capabilities(NEEDED, inheritable=NEEDED)


def _drop_bounding_set() -> None:
    for capability in count():
        try:
            _prctl(PR_CAPBSET_DROP, capability)
        except OSError as error:
            # The kernel knows no more of them; not every runtime says in /proc which is the last.
            if error.errno == errno.EINVAL and capability:
                return
            raise


def _clear_ambient_set() -> None:
    try:
        _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    except OSError as error:
        # A kernel without such a set, as gVisor's.
        if error.errno != errno.EINVAL:
            raise


def become_zygote() -> None:
    """From root to a user of its own, with the capabilities to make a child a program."""
    _change_user(ZYGOTE_UID)


def become_waiting_helper() -> None:
    """The same. As root it would be killed with the programs, since PID 1's real uid is root's."""
    _change_user(HELPER_UID)


def _change_user(uid: int) -> None:
    _prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    _prctl(PR_SET_KEEPCAPS, 0)
    _set_capabilities(NEEDED)
    _prctl(PR_SET_DUMPABLE, 0)


def become_sandbox_user(uid: int = SANDBOX_UID) -> None:
    """For good: all three ids change, and all capabilities go."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    _set_capabilities(0)
    os.umask(0o022)


def belong_to_self() -> None:
    """Let a program see its own entries in /proc, as after an exec."""
    _prctl(PR_SET_DUMPABLE, 1)


def name_self(name: bytes) -> None:
    _libc.prctl(PR_SET_NAME, name, 0, 0, 0)


def sacrifice_self(score: int = 1000) -> None:
    """When memory runs out, the kernel is to take this process and not PID 1."""
    file = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    os.write(file, str(score).encode())
    os.close(file)


class ProcessLimits(NamedTuple):
    """Of each process of a program."""

    cpu_seconds: int
    open_files: int
    file_bytes: int


def limit_self(limits: ProcessLimits) -> None:
    # The signal that comes first can be told from one that somebody has sent.
    _lower(resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 1)
    _lower(resource.RLIMIT_NOFILE, limits.open_files, limits.open_files)
    _lower(resource.RLIMIT_FSIZE, limits.file_bytes, limits.file_bytes)
    # No core dump. With 0 the kernel would still hand it to a program of the host, if its
    # core_pattern names one.
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def _lower(which: int, soft: int, hard: int) -> None:
    """Never to more than the container has, which only root could."""
    most = resource.getrlimit(which)[1]
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    resource.setrlimit(which, (soft, hard))


def kill_processes_of(uid: int, *, repeats: int = 1) -> None:
    """Kill every process of a uid, at once and without a fork of our own.

    Linux signals them all under the lock that a fork needs, and a fork with a signal pending
    starts over: so no storm of forks outruns this, and it works at the limit of processes. gVisor
    goes by a list that it has made before, and has to be told several times in a row. Being
    that user keeps it from anything else that may run in the container, such as a zygote that has
    just been started, which is root's for a moment. Of the signals that these processes may send
    us then, the kernel lets none through to init but those that we wait for.
    """
    os.setresuid(uid, uid, 0)
    try:
        with suppress(ProcessLookupError, PermissionError):
            for _ in range(repeats):
                os.kill(-1, signal.SIGKILL)
    finally:
        os.setresuid(0, 0, 0)


@contextmanager
def acting_as(uid: int) -> Iterator[None]:
    """What is made meanwhile is that user's. While no program runs: nothing else is given up."""
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


def _set_capabilities(permitted: int, inheritable: int = 0) -> None:
    header = _CapabilityHeader(CAPABILITY_VERSION_3, 0)
    # Capabilities from 32 on have a set of their own.
    sets = (_CapabilitySets * 2)(
        _CapabilitySets(permitted, permitted, inheritable), _CapabilitySets(0, 0, 0)
    )
    if _libc.capset(ctypes.byref(header), sets):
        raise _error("capset")


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, argument, 0, 0, 0):
        raise _error(f"prctl {option}")


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
