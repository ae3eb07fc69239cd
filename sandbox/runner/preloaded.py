"""PID 1's end of the zygote: start it, have it run programs, hear of what it started.

It may not be ready, or may have died, at any time. Programs then get a fresh interpreter, which
is slower and nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import time
from contextlib import suppress
from typing import NamedTuple, NoReturn

from .languages import environment
from .layout import Layout
from .privileges import sacrifice_self
from .program import Program

INTERPRETER = "/opt/sandbox/python3"
# By this name it finds the packages; a program sees it as `sys.executable`.
NAME = "/opt/venv/bin/python3"
HOOK = "/opt/sandbox/python"
DESCRIPTORS_VARIABLE = "SANDBOX_ZYGOTE"
# Before programs, which are at 1000; after PID 1.
OOM_SCORE = 500
# One that dies young would only die again.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
# Seconds for which programs may keep it from getting ready.
MAX_PAUSED = 5.0

# What the zygote says: what happened, to which process; wait status, CPU seconds, peak memory.
NEWS = struct.Struct("=ciIdQ")
READY, STARTED, NOT_STARTED, ENDED = b"RSNE"
RUN = b"run"


class Served(NamedTuple):
    """A process of the zygote's that has ended."""

    pid: int
    status: int
    cpu_seconds: float
    peak_memory_bytes: int


class Zygote:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._socket = f"{layout.code}/python3"
        self._control: socket.socket | None = None
        self._listener: socket.socket | None = None
        self._pause = FIRST_PAUSE
        self._started_at = 0.0
        self._paused = 0.0
        self._paused_at: float | None = None
        self.pid: int | None = None
        self.ready = False
        # Its children that are programs or about to become some; and how many there ever were.
        self._programs: set[int] = set()
        self.served = 0

    @property
    def control(self) -> socket.socket | None:
        return self._control

    @property
    def busy(self) -> bool:
        return bool(self._programs)

    def start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Bound, but nobody gets in before the zygote listens.
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.setblocking(False)
        with suppress(FileNotFoundError):
            os.unlink(self._socket)
        listener.bind(self._socket)
        os.chmod(self._socket, 0o666)  # noqa: S103 - programs are who connects
        pid = os.fork()
        if pid == 0:
            self._become(theirs, listener)
        theirs.close()
        ours.setblocking(False)
        self.pid, self._control, self._listener = pid, ours, listener
        self._started_at, self._paused, self._paused_at = time.monotonic(), 0.0, None

    def _become(self, control: socket.socket, listener: socket.socket) -> NoReturn:
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            sacrifice_self(OOM_SCORE)
            os.dup2(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC), 0)
            os.dup2(0, 1)
            os.chdir("/")
            for each in (control, listener):
                each.set_inheritable(True)
            variables = environment(self._layout, away_from_files=False) | {
                "PYTHONPATH": HOOK,
                DESCRIPTORS_VARIABLE: f"{control.fileno()} {listener.fileno()}",
            }
            os.execve(INTERPRETER, [NAME, "-c", ""], variables)  # noqa: S606 - the image's own
        finally:
            os._exit(126)

    def has_died(self) -> list[Served]:
        """What it had started are PID 1's children now, but for those returned: it alone knew how
        they have ended."""
        for end in (self._control, self._listener):
            if end:
                end.close()
        with suppress(FileNotFoundError):
            os.unlink(self._socket)
        lived = time.monotonic() - self._started_at
        self._pause = FIRST_PAUSE if lived > LONGEST_PAUSE else min(2 * self._pause, LONGEST_PAUSE)
        lost = [Served(pid, signal.SIGKILL, 0.0, 0) for pid in self._programs if not _is_child(pid)]
        self._control, self._listener, self.pid, self.ready = None, None, None, False
        self._programs.clear()
        return lost

    def turn_away(self) -> None:
        """Whoever waits to be let in. Called when all programs are gone: a connection can still be
        open, held by another one that nobody has taken yet, and a program be sent through it."""
        while self._listener:
            try:
                self._listener.accept()[0].close()
            except OSError:
                # Nobody does, or it does not listen yet.
                break

    @property
    def restart_in(self) -> float | None:
        """Seconds; None while there is one."""
        if self.pid is not None:
            return None
        return max(0.0, self._started_at + self._pause - time.monotonic())

    def pause(self) -> None:
        """Keep one that is still loading from competing with a program, though not for ever."""
        if self.pid is not None and not self.ready and self._paused < MAX_PAUSED:
            os.kill(self.pid, signal.SIGSTOP)
            self._paused_at = time.monotonic()

    def resume(self) -> None:
        if self.pid is not None and self._paused_at is not None:
            with suppress(ProcessLookupError):
                # It may have been reaped, and this be what it said before.
                os.kill(self.pid, signal.SIGCONT)
            self._paused += time.monotonic() - self._paused_at
        self._paused_at = None

    def run(self, program: Program, stdout: int, stderr: int, tell: int) -> bool:
        """Ask for a program to be run. It has begun once something was said through `tell`, and
        will not if that is closed before."""
        if not self.ready or self._control is None:
            return False
        text = os.memfd_create("program", os.MFD_CLOEXEC)
        try:
            with open(text, "wb", buffering=0, closefd=False) as file:
                file.write(json.dumps(program.message()).encode())
            socket.send_fds(self._control, [RUN], [text, stdout, stderr, tell])
        except OSError:
            return False
        finally:
            os.close(text)
        return True

    def news(self) -> list[Served]:
        """What has ended since the last call."""
        ended = []
        while self._control is not None:
            try:
                message = self._control.recv(NEWS.size)
            except BlockingIOError:
                break
            except OSError:
                message = b""
            if len(message) < NEWS.size:
                # The rest is said by its own exit status.
                break
            what, pid, status, cpu_seconds, peak = NEWS.unpack(message)
            if what[0] == READY:
                self.ready = True
                self.resume()
            elif what[0] == STARTED:
                self._programs.add(pid)
                self.served += 1
            elif what[0] == NOT_STARTED:
                self._programs.discard(pid)
                self.served -= 1
            elif what[0] == ENDED:
                self._programs.discard(pid)
                ended.append(Served(pid, status, cpu_seconds, peak))
        return ended


def _is_child(pid: int) -> bool:
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
