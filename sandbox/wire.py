"""Frames to and from a container, over whatever the engine attached us with."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from sandbox.engines.base import Attachment
from sandbox.errors import ContainerLost, ProtocolError
from sandbox.runner.protocol import (
    CONTROL,
    DATA,
    HEADER,
    BrokenStream,
    Control,
    pack,
    pack_control,
    parse_control,
    unpack_header,
)

HEARTBEAT_SECONDS = 1.0
POLL_SECONDS = 0.25


def nothing() -> None:
    pass


class Wire:
    """One request at a time, until its deadline. Frames of others are skipped: a container's output
    goes to everybody who is attached."""

    def __init__(self, attachment: Attachment, heartbeat: Callable[[], None]) -> None:
        self._attachment = attachment
        self._heartbeat = heartbeat
        self._heartbeat_due = time.monotonic() + HEARTBEAT_SECONDS
        self._poll_due = 0.0
        self._deadline = 0.0
        self._received = bytearray()
        # Random, so that no two clients of a container use the same ids.
        self._request = secrets.randbits(32)

    def open_request(self, message: Control, *, seconds: float, data: bytes = b"") -> None:
        """With the first of its data, if any: each piece that is sent by itself wakes all
        processes on the way."""
        self._request = (self._request + 1) % 2**32
        self._deadline = time.monotonic() + seconds
        self.say(message, data)

    def extend(self, seconds: float) -> None:
        """Give the request, which has kept its deadline so far, a new one."""
        self._deadline = time.monotonic() + seconds

    def hurry(self, seconds: float) -> None:
        """Bring the request's deadline nearer."""
        self._deadline = min(self._deadline, time.monotonic() + seconds)

    def say(self, message: Control, data: bytes = b"") -> None:
        try:
            frame = pack_control(self._request, message)
        except BrokenStream as error:
            raise ProtocolError(f"The request to the container is too large: {error}") from error
        self._attachment.send(frame + pack(DATA, self._request, data) if data else frame)

    def send(self, kind: int, payload: bytes) -> None:
        self._attachment.send(pack(kind, self._request, payload))
        self._beat()

    def receive(self, poll: Callable[[], None] = nothing) -> tuple[int, bytes]:
        """Type and payload of the request's next frame, or `ContainerLost` at the deadline.
        `poll` is called about four times a second."""
        while True:
            try:
                length, request, kind = unpack_header(self._take(HEADER.size, poll))
            except BrokenStream as error:
                raise ProtocolError(f"The container sent {error}") from error
            payload = self._take(length, poll)
            if request == self._request:
                return kind, payload

    def close(self) -> None:
        self._attachment.close()

    def _take(self, count: int, poll: Callable[[], None]) -> bytes:
        while len(self._received) < count:
            remaining = self._deadline - time.monotonic()
            if remaining <= 0:
                raise ContainerLost("The container did not answer in time")
            try:
                chunk = self._attachment.recv(min(remaining, POLL_SECONDS))
            except TimeoutError:
                pass
            else:
                if not chunk:
                    raise ContainerLost("The container is gone")
                self._received += chunk
            self._beat()
            if time.monotonic() >= self._poll_due:
                self._poll_due = time.monotonic() + POLL_SECONDS
                poll()
        with memoryview(self._received) as view:
            taken = bytes(view[:count])
        del self._received[:count]
        return taken

    def _beat(self) -> None:
        if time.monotonic() >= self._heartbeat_due:
            self._heartbeat_due = time.monotonic() + HEARTBEAT_SECONDS
            self._heartbeat()


def control(kind: int, payload: bytes) -> Control:
    if kind != CONTROL:
        raise ProtocolError("The container sent data where it had to answer")
    try:
        return parse_control(payload)
    except BrokenStream as error:
        raise ProtocolError(f"The container sent nonsense: {error}") from error
