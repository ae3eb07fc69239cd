"""PID 1's children: the programs, and the helpers that do the file work for it."""

from __future__ import annotations

import math
import os
import select
import signal
import time
import traceback
from contextlib import suppress
from typing import NoReturn, Protocol

from .helping import Helpers
from .leftovers import processes_of
from .preloaded import Served, Zygote
from .privileges import SANDBOX_UID, ZYGOTE_UID, kill_processes_of
from .program import Ending, Leftovers, Process, Program, become, execute
from .protocol import Control

# How long a killed process may take to be gone. One that waits for a disk takes its time.
END_SECONDS = 10.0
# After so long it may be a storm of forks that outruns the signals, under gVisor; it grows again
# between two looks at what is left, but not between two signals.
STORM_SECONDS = 0.05
STORM_REPEATS = 20
# After so long it may be the zygote that does not see to its own.
STUCK_SECONDS = 3.0
# At most so many orphans are reaped before the clock and the output are looked at again.
REAP_AT_ONCE = 200
# How long nothing is to be done before a helper is forked ahead: the last answer is then where it
# was wanted.
AHEAD_SECONDS = 0.015
# How long the zygote may take to begin a program; far more than it ever does.
BEGIN_SECONDS = 5.0


class Supervisor(Protocol):
    def await_input(self, descriptor: int) -> None:
        """Return when there is something to read; see to the processes until then."""

    def help(self, task: Control) -> None:
        """Have a chore done as the sandbox's user, while no program runs."""

    def start(self, program: Program, stdout: int, stderr: int) -> Process: ...

    def warm_up(self, seconds: float) -> bool:
        """Wait for the preloaded interpreter, at most so long; whether it is ready."""

    @property
    def served(self) -> int:
        """How many programs that interpreter has run, also those that others have started."""


class Pid1:
    """Forks each program that the zygote does not from the runner itself."""

    def __init__(self, helpers: Helpers, zygote: Zygote | None = None) -> None:
        self._helpers = helpers
        self._wakeup, ended = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # Python's handler does nothing, but with it a byte is written for each signal.
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(ended, warn_on_full_buffer=False)
        # Of init the kernel keeps away what has no handler.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self._epoll = select.epoll()
        self._epoll.register(self._wakeup, select.EPOLLIN)
        self._zygote = zygote
        self._dying: set[int] = set()
        # How it has ended is to be told, so this one's end is waited for.
        self.program: int | None = None
        # Of what was reaped after its run had been reported; the next one has it.
        self.late_cpu_seconds = 0.0
        if zygote:
            self._start(zygote)

    def _start(self, zygote: Zygote) -> None:
        zygote.start()
        if zygote.control:
            self._epoll.register(zygote.control, select.EPOLLIN)

    def fileno(self) -> int:
        """Readable when a process may have ended, or the zygote says something."""
        return self._epoll.fileno()

    def await_input(self, descriptor: int) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(self.fileno(), select.POLLIN)
        while True:
            pause = self._zygote.restart_in if self._zygote else None
            if self._zygote and pause == 0:
                self._start(self._zygote)
                continue
            ready = poll.poll(0 if self._helpers.pid else math.ceil(AHEAD_SECONDS * 1000))
            if not ready:
                self._helpers.fork_ahead()
                ready = poll.poll(None if pause is None else math.ceil(pause * 1000))
            if any(number == self.fileno() for number, _ in ready):
                self.late_cpu_seconds += sum(process.cpu_seconds for process in self.reap())
            if any(number == descriptor for number, _ in ready):
                return

    def warm_up(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._zygote and not self._zygote.ready:
            remaining = deadline - time.monotonic()
            if self._zygote.pid is None or remaining <= 0:
                return False
            select.select([self.fileno()], [], [], remaining)
            self.reap()
        return self._zygote is not None

    def help(self, task: Control) -> None:
        self._helpers.help(task)

    def start(self, program: Program, stdout: int, stderr: int) -> Process:
        self._helpers.dismiss()
        self._await_dying()
        if program.language.preloaded:
            begun = self._start_preloaded(program, stdout, stderr)
            if begun:
                return Child(self, *begun)
        if self._zygote:
            self._zygote.pause()
        heard, tell = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            _become(program, stdout, stderr, tell)
        os.close(tell)
        return Child(self, *(_begun(heard) or (pid, None)))

    def _await_dying(self) -> None:
        """A program is not to see what is left of the one before."""
        deadline = time.monotonic() + END_SECONDS
        while any(os.path.exists(f"/proc/{pid}") for pid in self._dying):
            if time.monotonic() > deadline:
                raise Leftovers
            select.select([self.fileno()], [], [], 0.001)
            self.late_cpu_seconds += sum(process.cpu_seconds for process in self.reap())

    def _start_preloaded(
        self, program: Program, stdout: int, stderr: int
    ) -> tuple[int, str | None] | None:
        self.reap()
        if not self._zygote:
            return None
        heard, tell = os.pipe2(os.O_CLOEXEC)
        try:
            asked = self._zygote.run(program, stdout, stderr, tell)
        finally:
            os.close(tell)
        if not asked:
            os.close(heard)
            return None
        if select.select([heard], [], [], BEGIN_SECONDS)[0]:
            return _begun(heard)
        # It may begin later, when nobody expects it.
        self._end_zygote()
        if _begun(heard):
            raise Leftovers
        return None

    def _end_zygote(self) -> None:
        kill_processes_of(ZYGOTE_UID)
        deadline = time.monotonic() + END_SECONDS
        while self._zygote and self._zygote.pid is not None and time.monotonic() < deadline:
            select.select([self.fileno()], [], [], 0.01)
            self.reap()
        self.end_all()

    def reap(self) -> list[Served]:
        """Those of the processes that have ended since, though not all at once if they are many:
        the clock and the output want to be looked at."""
        with suppress(BlockingIOError):
            while os.read(self._wakeup, 4096):
                pass
        ended = []
        with suppress(ChildProcessError):
            for _ in range(REAP_AT_ONCE):
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if not pid:
                    break
                if pid == self._helpers.pid:
                    self._helpers.forget()
                elif self._zygote and pid == self._zygote.pid:
                    ended += self._zygote.news()
                    if self._zygote.control:
                        # A helper has it open as well: closed here, it would be reported for ever.
                        self._epoll.unregister(self._zygote.control)
                    ended += self._zygote.has_died()
                else:
                    seconds = usage.ru_utime + usage.ru_stime
                    # Of one from before, the memory was told as another process's.
                    peak = 0 if pid in self._dying else usage.ru_maxrss * 1024
                    ended.append(Served(pid, status, seconds, peak))
            else:
                # There may be more, for which no signal comes again.
                os.kill(os.getpid(), signal.SIGCHLD)
        if self._zygote:
            ended += self._zygote.news()
        return ended

    def end_all(self) -> list[Served]:
        """Kill all programs, and whatever could still become one, until none is left."""
        began = time.monotonic()
        ended = []
        while True:
            lasts = time.monotonic() - began
            repeats = STORM_REPEATS if lasts > STORM_SECONDS else 1
            kill_processes_of(SANDBOX_UID, repeats=repeats)
            if self._zygote and (self._zygote.pid is None or lasts > STUCK_SECONDS):
                # One that died may have left one of its children something to become.
                kill_processes_of(ZYGOTE_UID)
            ended += self.reap()
            if not self._has_leftovers():
                if not self._zygote:
                    return ended
                # Nobody is left who could connect; what was let in before is known after this.
                self._zygote.turn_away()
                ended += self.reap()
                if not self._zygote.busy and (self._zygote.pid or not self._has_leftovers()):
                    return ended
            if lasts > END_SECONDS:
                raise Leftovers
            # Most of what was killed is gone at once, and then nobody tells.
            select.select([self.fileno()], [], [], 0.0002 if lasts < 0.002 else 0.01)

    def _has_leftovers(self) -> bool:
        """Whether there is a program's process, one that may become a program, or one whose end is
        not known yet. One that is ending can run no more: the kernel only takes down its memory,
        which is not waited for."""
        if self._zygote and self._zygote.busy:
            return True
        uids = {SANDBOX_UID}
        own: set[int | None] = {1, self._helpers.pid}
        if self._zygote and self._zygote.pid is None:
            uids.add(ZYGOTE_UID)
        elif self._zygote:
            own.add(self._zygote.pid)
        running, dying = processes_of(uids, but=own)
        self._dying = dying - {self.program}
        return bool(running) or self.program in dying

    def end(self) -> None:
        if self._zygote:
            self._zygote.resume()

    @property
    def served(self) -> int:
        return self._zygote.served if self._zygote else 0


class Child:
    """A program. All processes that it leaves behind become PID 1's children in the end, but for
    those that the zygote has forked for it."""

    def __init__(self, supervisor: Pid1, pid: int, placed: str | None) -> None:
        self.placed = placed
        self._supervisor = supervisor
        self._pid = pid
        supervisor.program = pid
        self._ending = Ending(cpu_seconds=supervisor.late_cpu_seconds)
        supervisor.late_cpu_seconds = 0.0

    def fileno(self) -> int:
        return self._supervisor.fileno()

    def has_ended(self) -> bool:
        self._reap()
        return self._ending.status is not None

    def end(self) -> Ending:
        try:
            self._note(self._supervisor.end_all())
        finally:
            self._supervisor.end()
        return self._ending

    def _reap(self) -> None:
        self._note(self._supervisor.reap())

    def _note(self, ended: list[Served]) -> None:
        ending = self._ending
        for process in ended:
            ending.cpu_seconds += process.cpu_seconds
            ending.peak_memory_bytes = max(ending.peak_memory_bytes, process.peak_memory_bytes)
            if os.WIFSIGNALED(process.status):
                ending.signals.add(os.WTERMSIG(process.status))
            # What comes after the first is a guess, when a zygote died.
            if process.pid == self._pid and ending.status is None:
                ending.status = process.status


def _begun(heard: int) -> tuple[int, str | None] | None:
    """The process that has become a program, and the name beside its files that its source got;
    None when it died before."""
    with open(heard, "rb") as file:
        pid, _, placed = file.read().decode().partition(" ")
    return (int(pid), placed or None) if pid else None


def _become(program: Program, stdout: int, stderr: int, tell: int) -> NoReturn:
    try:
        execute(become(program, stdout, stderr, tell))
    except BaseException:  # noqa: BLE001 - a child must never return into PID 1's loop
        traceback.print_exc()
    finally:
        os._exit(126)
