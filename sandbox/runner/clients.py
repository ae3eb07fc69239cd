"""The processes of the image's `python3` that programs stand in for.

Each has a connection, by which it learns how its program goes on; and what happens to it happens to
its program as well.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from .requests import ENDED, EVENT, PID, STOPPED, peer


@dataclass
class Client:
    """One process, and the connection to it."""

    pid: int
    connection: socket.socket
    # As it was seen last; None while it is still to follow its program.
    stopped: bool | None = False

    def tell(self, what: int, value: int) -> None:
        with suppress(OSError):
            self.connection.send(EVENT.pack(what, value), socket.MSG_DONTWAIT)

    def is_stopped(self) -> bool:
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                return file.read().rpartition(b") ")[2][:1] == b"T"
        except OSError:
            return False


class Clients:
    """By the process of the program that stands in for each."""

    def __init__(self) -> None:
        self._clients: dict[int, Client] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def connections(self) -> Iterator[socket.socket]:
        return (client.connection for client in self._clients.values())

    def add(self, program: int, connection: socket.socket) -> None:
        self._clients[program] = client = Client(peer(connection), connection)
        client.tell(PID, program)

    def program_stopped(self, program: int, number: int) -> None:
        client = self._clients.get(program)
        if client and client.stopped is False:
            client.stopped = None
            client.tell(STOPPED, number)

    def program_ended(self, program: int, status: int) -> bool:
        """Whether it was a client's."""
        client = self._clients.pop(program, None)
        if client is None:
            return False
        client.tell(ENDED, status)
        client.connection.close()
        return True

    def left(self, descriptor: int) -> None:
        """A client that was killed cannot pass the signal on."""
        for program, client in list(self._clients.items()):
            # The number can be another one's by now, if one has ended and one has come since.
            if client.connection.fileno() == descriptor and has_hung_up(client.connection):
                self._clients.pop(program).connection.close()
                signal_group(program, signal.SIGKILL)

    def follow_stops(self) -> None:
        """A client that was stopped cannot pass that on either."""
        for program, client in self._clients.items():
            stopped = client.is_stopped()
            if client.stopped is None:
                client.stopped = stopped or None
            elif stopped != client.stopped:
                client.stopped = stopped
                signal_group(program, signal.SIGSTOP if stopped else signal.SIGCONT)

    def close(self) -> None:
        """In a child, which has nothing to do with them."""
        for connection in self.connections():
            connection.close()


def has_hung_up(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(0))


def signal_group(program: int, number: int) -> None:
    """A program and those of its children that have stayed with it."""
    for target in (-program, program):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(target, number)
