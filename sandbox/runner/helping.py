"""Helpers: processes that give up PID 1's rights, do one piece of file work and end."""

from __future__ import annotations

import json
import os
import socket
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NoReturn, Protocol

from .privileges import become_sandbox_user, become_waiting_helper
from .protocol import Control

READY, TAKEN = b"r", b"t"
# What takes down a process's memory cannot be interrupted, and those who pass its answer on may
# have to wait for the same processor.
PASS_ON_SECONDS = 0.002


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

    @property
    def pid(self) -> int | None:
        """Of the one that waits."""
        return self._ahead.pid if self._ahead else None

    def fork_ahead(self) -> None:
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
        ahead, self._ahead = self._ahead, None
        pid = ahead.pid if ahead and ahead.give(task) else self._fork(task)
        _, status = os.waitpid(pid, 0)
        if status:
            raise HelperFailed(f"a helper ended with status {status}")

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

    def _do(self, task: Control) -> None:
        become_sandbox_user()
        self._work.do(task)
        # A run's last word. After anything else the client goes on at once, and would wait for it.
        if task["verb"] == "collect":
            time.sleep(PASS_ON_SECONDS)


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
        return ahead if ahead._says(READY) else None

    def give(self, task: Control) -> bool:
        """False when it has died, for example because memory ran out, with nothing done."""
        with suppress(OSError):
            self._taker.sendall(json.dumps(task).encode() + b"\n")
        if not self._says(TAKEN):
            return False
        self.close()
        return True

    def _says(self, expected: bytes) -> bool:
        # One that died with the task unread resets the connection.
        with suppress(OSError):
            if self._taker.recv(1) == expected:
                return True
        self.close()
        os.waitpid(self.pid, 0)
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
