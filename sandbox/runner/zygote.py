"""The preloaded interpreter that programs are forked from.

It is stopped in the middle of its own start, by the hook in image/python, and stays there. It
reads nothing that a program sent: a connection of the image's `python3` is handed to a child, which
takes on the program's rights before it reads a byte of it.
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from .clients import Clients, has_hung_up
from .counters import cpu_seconds_of
from .holders import Holders
from .launcher import Launcher
from .preloaded import ENDED, NEWS, NOT_STARTED, READY, RUN, STARTED
from .program import Program, program_from
from .served import LITTLE, MUCH, scout, serve_client, serve_run

BACKLOG = 64
CLIENT = b"client"
# Until a fork is tried again that failed for want of memory or processes.
RETRY_SECONDS = 0.1
# The next spare is made when a short program has ended, or after so long: a fork beside the start
# of a program slows that down.
SPARE_SECONDS = 0.03
# Of CPU: a program that has needed more is likely to be followed by one that touches much memory.
LITTLE_SECONDS = 0.01
# How long the report on a run takes to whoever waits for it; a fork competes with that.
REPORT_SECONDS = 0.015
# How often to look whether a client was stopped, of which nobody tells.
LOOK_SECONDS = 0.05
MAX_MESSAGE = 64


class BecameProgram(BaseException):
    """In a child: leave the zygote's code for the interpreter's."""


@dataclass
class Spare:
    """A child that waits for something to become."""

    pid: int
    socket: socket.socket


class Zygote:
    def __init__(self, control: socket.socket, listener: socket.socket, launcher: Launcher) -> None:
        self._control = control
        self._listener = listener
        self._launcher = launcher
        self._spare: Spare | None = None
        # When to do what nobody waits for: make the next spare, take down memory.
        self._rest_at = 0.0
        self._has_failed = False
        self._clients = Clients()
        self._holders = Holders()
        self._pid = os.getpid()
        # What was done ahead for a program, in seconds of CPU, is not the program's.
        self._spent: dict[int, float] = {}
        # How much CPU the one that ended last has needed.
        self._last_seconds = 0.0
        self._wakeup, woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._woken = woken
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Until PID 1 is gone; in a child, until it has something to become."""
        for name in (LITTLE, MUCH):
            self._launcher.pages[name] = self._pages_of(name)
        self._fork()
        # Before anybody can connect: one that PID 1 has stopped, as not ready, goes on with this.
        self._tell(READY)
        self._listener.listen(BACKLOG)
        while True:
            for descriptor, events in self._poll():
                if descriptor == self._wakeup:
                    self._reap()
                elif descriptor in (self._control.fileno(), self._listener.fileno()):
                    # There may be more of them than there was time to prepare for.
                    if self._spare or self._fork():
                        self._answer(descriptor)
                elif events & (select.POLLHUP | select.POLLERR):
                    self._clients.left(descriptor)
            self._clients.follow_stops()
            self._holders.let_go()
            if time.monotonic() >= self._rest_at:
                if self._spare:
                    self._holders.end_due()
                else:
                    self._fork()

    def _pages_of(self, name: str) -> bytes:
        """What this scout finds out. Without it programs are slower, and nothing else."""
        heard, tell = os.pipe2(os.O_CLOEXEC)
        try:
            pid = os.fork()
        except OSError:
            os.close(heard)
            os.close(tell)
            return b""
        if pid == 0:
            # It has no file to close on its way out of here: it has closed all of them by then.
            self._in_child(lambda: scout(name, tell, self._launcher))
        os.close(tell)
        with open(heard, "rb") as file:
            pages = file.read()
        os.waitpid(pid, 0)
        return pages

    def _poll(self) -> list[tuple[int, int]]:
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        if self._spare or not self._has_failed:
            poll.register(self._control, select.POLLIN)
            poll.register(self._listener, select.POLLIN)
        for connection in self._clients.connections():
            poll.register(connection, 0)
        seconds = []
        if self._spare is None or self._holders.due:
            seconds.append(max(0.0, self._rest_at - time.monotonic()))
        if self._clients:
            seconds.append(LOOK_SECONDS)
        held_until = self._holders.held_until
        if held_until is not None:
            seconds.append(max(0.0, held_until - time.monotonic()))
        return poll.poll(math.ceil(min(seconds) * 1000) if seconds else None)

    def _answer(self, descriptor: int) -> None:
        if descriptor == self._control.fileno():
            self._forward()
        else:
            self._accept()

    def _fork(self) -> bool:
        self._holders.end_due()
        self._has_failed = True
        self._rest_at = time.monotonic() + RETRY_SECONDS
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError:
            return False
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            return False
        if pid == 0:
            self._be_spare(ours, theirs)
        theirs.close()
        self._spare = Spare(pid, ours)
        self._has_failed = False
        return True

    def _hand_over(self, spare: Spare, kind: bytes, descriptors: list[int]) -> None:
        """Give the spare something to become. What goes wrong from here on is the child's."""
        self._spare = None
        self._rest_at = time.monotonic() + SPARE_SECONDS
        with suppress(OSError):
            socket.send_fds(spare.socket, [kind], descriptors)
        self._spent[spare.pid] = cpu_seconds_of(spare.pid)
        self._holders.spare_became(spare.pid, spare.socket)
        spare.socket.close()

    def _forward(self) -> None:
        message, descriptors, _, _ = socket.recv_fds(self._control, MAX_MESSAGE, 8)
        if not message:
            # Init has ended, and all of the container with it.
            os._exit(0)
        # Without a spare PID 1 sees that nothing begins.
        if self._spare:
            self._holders.await_killed()
            self._tell(STARTED, self._spare.pid)
            self._hand_over(self._spare, RUN, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)

    def _accept(self) -> None:
        spare = self._spare
        if spare is None:
            return
        # Told before anything is taken from the listener: PID 1 is to know of all that may still
        # become a program, be it here or there.
        self._tell(STARTED, spare.pid)
        connection = self._next_connection()
        if connection is None:
            self._tell(NOT_STARTED, spare.pid)
            return
        # The program's number is the first thing that a client reads.
        self._clients.add(spare.pid, connection)
        self._hand_over(spare, CLIENT, [connection.fileno()])

    def _next_connection(self) -> socket.socket | None:
        """None if it has gone again."""
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return None
        if has_hung_up(connection):
            connection.close()
            return None
        return connection

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._wakeup, 4096):
                pass
        with suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG | os.WUNTRACED)
                if not pid:
                    break
                if os.WIFSTOPPED(status):
                    self._clients.program_stopped(pid, os.WSTOPSIG(status))
                    continue
                if self._spare and pid == self._spare.pid:
                    self._holders.spare_died(self._spare.socket)
                    self._spare.socket.close()
                    self._spare = None
                    continue
                self._holders.has_ended(pid)
                if pid not in self._spent:
                    continue
                peak = usage.ru_maxrss * 1024
                self._holders.program_ended(pid, peak)
                # After the short program of a run, its report comes first; from a shell, the next
                # one may come at once.
                pause = 0.0 if self._clients.program_ended(pid, status) else REPORT_SECONDS
                rest_at = time.monotonic() + pause
                self._rest_at = rest_at if self._spare else min(self._rest_at, rest_at)
                seconds = usage.ru_utime + usage.ru_stime - self._spent.pop(pid, 0.0)
                self._last_seconds = max(0.0, seconds)
                self._tell(ENDED, pid, status, self._last_seconds, peak)

    def _tell(
        self, what: int, pid: int = 0, status: int = 0, seconds: float = 0, peak: int = 0
    ) -> None:
        with suppress(OSError):
            self._control.send(NEWS.pack(bytes([what]), pid, status, seconds, peak))

    # --- in the child ---

    def _be_spare(self, zygotes: socket.socket, work: socket.socket) -> NoReturn:
        zygotes.close()
        self._in_child(lambda: self._become_something(work))

    def _in_child(self, become: Callable[[], None]) -> NoReturn:
        became = False
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in (self._control, self._listener):
                each.close()
            self._clients.close()
            os.close(self._wakeup)
            os.close(self._woken)
            become()
            became = True
        except BaseException:  # noqa: BLE001 - a child must never return into the zygote's loop
            traceback.print_exc()
        finally:
            if not became:
                os._exit(126)
        raise BecameProgram

    def _become_something(self, work: socket.socket) -> None:
        self._holders.have_one(lambda: self._launcher.hold(self._pid), work)
        self._launcher.prepare(work.fileno(), self._likely_work())
        try:
            kind, descriptors, _, _ = socket.recv_fds(work, MAX_MESSAGE, 8)
        except ConnectionResetError:
            # The zygote has died, and has not read what it was told.
            os._exit(0)
        work.close()
        if kind == CLIENT:
            serve_client(socket.socket(fileno=descriptors[0]), self._launcher)
        elif kind == RUN:
            serve_run(self._program(descriptors[0]), descriptors[1:], self._launcher)
        else:
            os._exit(0)

    def _likely_work(self) -> str:
        """What has been done so far says what the next program will touch: each page that is ready
        and not needed costs memory, and time when it is taken down."""
        running = (cpu_seconds_of(pid) - spent for pid, spent in self._spent.items())
        return LITTLE if max(self._last_seconds, *running, 0.0) < LITTLE_SECONDS else MUCH

    def _program(self, descriptor: int) -> Program:
        with open(descriptor, "rb", buffering=0) as file:
            file.seek(0)
            return program_from(json.loads(file.readall()))
