"""The runner's end of the frames: stdin and stdout of PID 1, which its helpers inherit."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from typing import NamedTuple

from .protocol import (
    DATA,
    HEADER,
    BrokenStream,
    Control,
    pack,
    pack_control,
    unpack_header,
)


class Frame(NamedTuple):
    request: int
    kind: int
    payload: bytes


class Stream:
    """Never reads past the end of a frame: what follows is then still there for a helper that
    takes over in the middle of a request."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self.incoming = incoming
        self.outgoing = outgoing
        os.set_blocking(outgoing, False)
        self._frame = bytearray()
        self._unsent = bytearray()

    def feed(self) -> Frame | None:
        """Read once; the frame, if that completes it."""
        missing = HEADER.size - len(self._frame)
        if missing <= 0:
            missing += unpack_header(self._frame[: HEADER.size])[0]
        if missing > 0:
            self._frame += self._read(missing)
        if len(self._frame) < HEADER.size:
            return None
        length, request, kind = unpack_header(self._frame[: HEADER.size])
        if len(self._frame) < HEADER.size + length:
            return None
        payload = bytes(self._frame[HEADER.size :])
        self._frame.clear()
        return Frame(request, kind, payload)

    def data(self, request: int, size: int) -> Iterator[bytes]:
        """The next `size` bytes, all of which must come in data frames of this request."""
        while size:
            header = bytearray()
            while len(header) < HEADER.size:
                header += self._read(HEADER.size - len(header))
            length, owner, kind = unpack_header(header)
            if (owner, kind) != (request, DATA) or length > size:
                raise BrokenStream("another frame came where data was due")
            size -= length
            while length:
                chunk = self._read(length)
                length -= len(chunk)
                yield chunk

    def _read(self, count: int) -> bytes:
        chunk = os.read(self.incoming, count)
        if not chunk:
            raise EOFError("stdin was closed")
        return chunk

    @property
    def unsent(self) -> int:
        return len(self._unsent)

    def queue(self, request: int, kind: int, payload: bytes) -> None:
        self._unsent += pack(kind, request, payload)

    def send(self, request: int, kind: int, payload: bytes) -> None:
        self.queue(request, kind, payload)
        self.flush()

    def reply(self, request: int, message: Control) -> None:
        self._unsent += pack_control(request, message)
        self.flush()

    def write_some(self) -> None:
        """Send what can be sent without waiting."""
        try:
            sent = os.write(self.outgoing, self._unsent)
        except BlockingIOError:
            return
        del self._unsent[:sent]

    def flush(self) -> None:
        poll = select.poll()
        poll.register(self.outgoing, select.POLLOUT)
        while self._unsent:
            self.write_some()
            if self._unsent:
                poll.poll()
