"""PID 1's children: the programs, and the helpers that do the file work for it."""

from __future__ import annotations

import os
import resource
import select
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, Protocol

from .directories import open_workspace
from .privileges import (
    become_sandbox_user,
    kill_sandbox_processes,
    limit_self,
    sacrifice_self,
)
from .program import Ending, Leftovers, Process, Program, execute

# How long a killed process may take to be gone. One that waits for a disk takes its time.
END_SECONDS = 10.0
# At most so many orphans are reaped before the clock and the output are looked at again.
REAP_AT_ONCE = 200
RESET_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD)


class HelperFailed(Exception):
    """A helper died; it may have left half a frame behind."""


class Supervisor(Protocol):
    def help(self, work: Callable[[], None]) -> None:
        """Do file work as the sandbox's user, while no program runs."""

    def start(self, program: Program, stdout: int, stderr: int) -> Process: ...


class Pid1:
    """Forks each helper and each program from the runner itself."""

    def __init__(self) -> None:
        self._wakeup, ended = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # Python's handler does nothing, but with it a byte is written for each signal.
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(ended, warn_on_full_buffer=False)

    def help(self, work: Callable[[], None]) -> None:
        pid = os.fork()
        if pid == 0:
            _do(work)
        _, status = os.waitpid(pid, 0)
        if status:
            raise HelperFailed(f"a helper ended with status {status}")

    def start(self, program: Program, stdout: int, stderr: int) -> Process:
        placed, tell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        pid = os.fork()
        if pid == 0:
            _become(program, stdout, stderr, tell)
        os.close(tell)
        return Child(pid, placed, self._wakeup)


class Child:
    """A program. All processes that it leaves behind become PID 1's children in the end, so there
    is nothing left of it when PID 1 has none."""

    def __init__(self, pid: int, placed: int, wakeup: int) -> None:
        self._pid = pid
        self._placed = placed
        self._wakeup = wakeup
        self._ending = Ending()
        self.placed: str | None = None

    def fileno(self) -> int:
        return self._wakeup

    def has_ended(self) -> bool:
        self._drain_wakeup()
        with suppress(ChildProcessError):
            for _ in range(REAP_AT_ONCE):
                if not self._reap():
                    break
            else:
                # There may be more, for which no signal comes again.
                os.kill(os.getpid(), signal.SIGCHLD)
        return self._ending.status is not None

    def end(self) -> Ending:
        deadline = time.monotonic() + END_SECONDS
        kill_sandbox_processes()
        while self._has_children():
            if time.monotonic() > deadline:
                raise Leftovers
            select.select([self._wakeup], [], [], 0.1)
            self._drain_wakeup()
            kill_sandbox_processes()
        self.placed = os.read(self._placed, 256).decode() or None
        os.close(self._placed)
        return self._ending

    def _has_children(self) -> bool:
        try:
            while self._reap():
                pass
        except ChildProcessError:
            return False
        return True

    def _reap(self) -> bool:
        pid, status, usage = os.wait4(-1, os.WNOHANG)
        if not pid:
            return False
        self._count(usage)
        if pid == self._pid:
            self._ending.status = status
        return True

    def _count(self, usage: resource.struct_rusage) -> None:
        ending = self._ending
        ending.cpu_seconds += usage.ru_utime + usage.ru_stime
        ending.peak_memory_bytes = max(ending.peak_memory_bytes, usage.ru_maxrss * 1024)

    def _drain_wakeup(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._wakeup, 4096):
                pass


def _do(work: Callable[[], None]) -> NoReturn:
    status = 1
    try:
        become_sandbox_user()
        work()
        status = 0
    except BaseException:  # noqa: BLE001 - a child must never return into PID 1's loop
        traceback.print_exc()
    finally:
        os._exit(status)


def _become(program: Program, stdout: int, stderr: int, tell: int) -> NoReturn:
    try:
        os.setsid()
        for number in RESET_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.dup2(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), 0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        sacrifice_self()
        limit_self(program.cpu_seconds)
        become_sandbox_user()
        os.fchdir(open_workspace(program.layout.workspace))
        placed = program.place()
        os.write(tell, (placed or "").encode())
        # All of them close at the exec as it is; this is for the one that somebody forgets.
        os.closerange(3, tell)
        os.closerange(tell + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        execute(program.command(placed))
    except BaseException:  # noqa: BLE001 - a child must never return into PID 1's loop
        traceback.print_exc()
    finally:
        os._exit(126)
