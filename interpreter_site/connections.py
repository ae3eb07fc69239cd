"""A client's connection, and what its thread does not have to wait for.

A thread is held by what it does for a client, not by how slowly the client sends or reads. So the
event loop waits for a request's head and a small body, and for the client to hang up in the end.
In between, for larger bodies and for answers, a client has as much time as their size makes
reasonable.
"""

from __future__ import annotations

import re
import select
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gunicorn.http.errors import InvalidHeader, LimitRequestHeaders, ParseException

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer  # noqa: F401

BLANK_LINE = re.compile(rb"\r?\n\r?\n")
# All of it. LibreChat's are about 500 bytes, and as many as may connect may each send so much.
HEAD_BYTES = 64 * 1024
# Nearly all programs are smaller. What is larger is read, and paid attention to, by a thread.
SMALL_BODY_BYTES = 128 * 1024
CONTENT_LENGTH = re.compile(rb"\r\nContent-Length:[ \t]*(\d{1,6})[ \t]*\r\n", re.I)
# The client waits for our word before it sends the body; or this says how long that is.
OF_ANOTHER_KIND = re.compile(rb"\r\n(?:Expect|Transfer-Encoding):", re.I)
# For how long a client may go on sending what nobody reads, for example the upload behind a 401.
LINGER_SECONDS = 20.0
LINGER_SILENCE_SECONDS = 2.0
CHUNK = 64 * 1024
UNSENT_BYTES = 128 * 1024
# Of one connection, before it is the others' turn.
CHUNKS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Patience:
    """How long we wait for a client that sends a body or reads an answer."""

    seconds: float = 30.0
    # So many bytes make up for a second of waiting. LibreChat itself gives up an upload of 150 MB
    # after two minutes.
    bytes_per_second: int = 10_000


class Pace:
    """The client's, in one direction. Only the time that we wait for it counts: a program may run
    for minutes between the request and its answer."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.left = patience.seconds

    def wait(self, connection: socket.socket, event: int) -> None:
        poll = select.poll()
        poll.register(connection, event)
        started = time.monotonic()
        ready = poll.poll(max(0.0, self.left) * 1000)
        self.left -= time.monotonic() - started
        if not ready:
            raise TimeoutError("The client is too slow")

    def moved(self, size: int) -> None:
        earned = size / self.patience.bytes_per_second
        self.left = min(self.patience.seconds, self.left + earned)


class PacedSocket(socket.socket):
    """Blocks no longer than its client's pace allows; then TimeoutError."""

    def __init__(self, accepted: socket.socket, patience: Patience) -> None:
        super().__init__(fileno=accepted.detach())
        self.reading = Pace(patience)
        self.writing = Pace(patience)
        with suppress(OSError):
            # What the kernel holds for the client is not read by it yet. Not for a Unix socket.
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        while True:
            try:
                data = super().recv(size, flags | socket.MSG_DONTWAIT)
            except BlockingIOError:
                if flags or not self.getblocking():
                    raise
                self.reading.wait(self, select.POLLIN)
            else:
                self.reading.moved(len(data))
                return data

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        with memoryview(data) as whole:
            rest = whole
            while rest:
                try:
                    sent = super().send(rest, flags | socket.MSG_DONTWAIT)
                except BlockingIOError:
                    if not self.getblocking():
                        raise
                    self.writing.wait(self, select.POLLOUT)
                else:
                    self.writing.moved(sent)
                    rest = rest[sent:]


@dataclass(slots=True)
class Head:
    """The beginning of a request, as far as it has arrived: its head, and its body if that is
    small."""

    ends_at: float
    received: bytearray = field(default_factory=bytearray)
    # How many bytes that is, once the head says so.
    size: int | None = None

    def receive(self, connection: socket.socket) -> bool:
        """Whether it is complete, so that to parse it nothing more is waited for.

        EOFError where it never will be, or gunicorn's errors where it is already too bad.
        """
        data = connection.recv(HEAD_BYTES)
        if not data:
            if self.size is not None:
                raise ParseException("The body is shorter than it was said to be")
            raise EOFError
        # The blank line may have been cut in pieces.
        start = max(0, len(self.received) - 3)
        self.received += data
        if self.size is None and not self._ends_after(start):
            return False
        return self.size is not None and len(self.received) >= self.size

    def _ends_after(self, start: int) -> bool:
        blank_line = BLANK_LINE.search(self.received, start)
        if blank_line is None or blank_line.start() > HEAD_BYTES:
            if len(self.received) > HEAD_BYTES:
                raise LimitRequestHeaders("the whole head")
            return False
        if blank_line[0] != b"\r\n\r\n":
            raise InvalidHeader("bare LF as line terminator")
        self.size = blank_line.end()
        length = CONTENT_LENGTH.search(self.received, 0, blank_line.end())
        # Which of two lengths is meant, if any, is the parser's to say.
        if length and not OF_ANOTHER_KIND.search(self.received, 0, blank_line.end()):
            body = int(length[1])
            self.size += body if body <= SMALL_BODY_BYTES else 0
        return True


@dataclass(slots=True)
class Farewell:
    """We have said that no more will come, and wait for the client to say the same: to close with
    something unread would take from it the answer that it has not read yet."""

    connection: socket.socket
    ends_at: float = field(default_factory=lambda: time.monotonic() + LINGER_SECONDS)
    silent_until: float = field(default_factory=lambda: time.monotonic() + LINGER_SILENCE_SECONDS)

    def begin(self) -> None:
        self.connection.setblocking(False)
        self.connection.shutdown(socket.SHUT_WR)

    def is_over(self) -> bool:
        return time.monotonic() > min(self.ends_at, self.silent_until)

    def listen(self) -> bool:
        """Whether the client may have more to say."""
        with suppress(BlockingIOError):
            for _ in range(CHUNKS_AT_ONCE):
                if not self.connection.recv(CHUNK):
                    return False
                self.silent_until = time.monotonic() + LINGER_SILENCE_SECONDS
        return True
