"""Helpers: processes that give up PID 1's rights, do one piece of file work and end."""

from __future__ import annotations

import json
import os
import socket
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NoReturn, Protocol

from .privileges import become_sandbox_user, become_waiting_helper
from .protocol import Control

READY, TAKEN, DONE = b"r", b"t", b"d"


class Work(Protocol):
    def do(self, task: Control) -> None: ...

    def rehearse(self) -> None:
        """Make ready for a task, without the sandbox's files."""


class HelperFailed(Exception):
    """A helper died; it may have left half a frame behind."""


class Helpers:
    """One is forked ahead while there is time for it: to fork and to warm up takes several times
    as long as the work, which somebody waits for."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._ahead: Ahead | None = None
        self._done: Ahead | None = None

    @property
    def pid(self) -> int | None:
        """Of the one that waits."""
        return self._ahead.pid if self._ahead else None

    def fork_ahead(self) -> None:
        self.dismiss()
        if self._ahead is None:
            # Without memory or a process for it, the next is forked when it is needed.
            with suppress(OSError):
                self._ahead = Ahead.fork(self._wait_and_do)

    def forget(self) -> None:
        """The one that waited has died and is reaped."""
        if self._ahead:
            self._ahead.close()
            self._ahead = None

    def help(self, task: Control) -> None:
        self.dismiss()
        ahead, self._ahead = self._ahead, None
        if ahead and ahead.give(task):
            if ahead.is_done():
                self._done = ahead
                return
            status = ahead.wait()
        else:
            _, status = os.waitpid(self._fork(task), 0)
        if status:
            raise HelperFailed(f"a helper ended with status {status}")

    def dismiss(self) -> None:
        """See that the one that has done its work is gone. It is the programs' user, and has what
        they must not have. To take down its memory takes a while, in which the answer is passed
        on, perhaps by the same processor."""
        if self._done:
            # It may have died before, and been reaped.
            with suppress(ChildProcessError):
                self._done.wait()
            self._done = None

    def _fork(self, task: Control) -> int:
        pid = os.fork()
        if pid == 0:
            _end_after(partial(self._do, task))
        return pid

    def _wait_and_do(self, giver: socket.socket) -> None:
        become_waiting_helper()
        giver.send(READY)
        self._work.rehearse()
        with giver.makefile("rb") as file:
            task = json.loads(file.readline())
        giver.send(TAKEN)
        self._do(task)
        giver.send(DONE)
        giver.recv(1)

    def _do(self, task: Control) -> None:
        become_sandbox_user()
        self._work.do(task)


class Ahead:
    """A helper without a task yet. Until then it is a user of its own, as to one of theirs programs
    could do anything."""

    def __init__(self, pid: int, taker: socket.socket) -> None:
        self.pid = pid
        self._taker = taker

    @classmethod
    def fork(cls, work: Callable[[socket.socket], None]) -> Ahead | None:
        """Not before it is that user; none if it died."""
        taker, giver = socket.socketpair()
        with giver:
            try:
                pid = os.fork()
            except OSError:
                taker.close()
                raise
            if pid == 0:
                taker.close()
                _end_after(partial(work, giver))
        ahead = cls(pid, taker)
        if ahead._says(READY):
            return ahead
        ahead.wait()
        return None

    def give(self, task: Control) -> bool:
        """False when it has died, for example because memory ran out, with nothing done."""
        with suppress(OSError):
            self._taker.sendall(json.dumps(task).encode() + b"\n")
        if self._says(TAKEN):
            return True
        self.wait()
        return False

    def is_done(self) -> bool:
        """Wait for it. False when it has died."""
        return self._says(DONE)

    def wait(self) -> int:
        """Until it is gone; its status."""
        self._taker.close()
        return os.waitpid(self.pid, 0)[1]

    def _says(self, expected: bytes) -> bool:
        # One that died with the task unread resets the connection.
        with suppress(OSError):
            return self._taker.recv(1) == expected
        return False

    def close(self) -> None:
        self._taker.close()


def _end_after(work: Callable[[], None]) -> NoReturn:
    status = 1
    try:
        work()
        status = 0
    except BaseException:  # noqa: BLE001 - a child must never return into PID 1's loop
        traceback.print_exc()
    finally:
        os._exit(status)
