"""A container that says what it was told to say."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.runner.protocol import HEADER, Control, pack, pack_control


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and payload of each in what is sent at once."""
    while data:
        length, _, kind = HEADER.unpack(data[: HEADER.size])
        yield kind, data[HEADER.size :][:length]
        data = data[HEADER.size + length :]


class ScriptedAttachment:
    """Answers each request as soon as its first frame comes. Of an answer, a frame is given as
    its type and payload; bytes go out as they are."""

    def __init__(self, *answers: list[tuple[int, bytes] | Control | bytes]) -> None:
        self._answers = list(answers)
        self._outgoing = b""
        self._requests: set[int] = set()
        self.sent: list[tuple[int, bytes]] = []
        self.closed = False

    def send(self, data: bytes) -> None:
        _, request, _ = HEADER.unpack(data[: HEADER.size])
        self.sent += frames(data)
        if request in self._requests or not self._answers:
            return
        self._requests.add(request)
        for part in self._answers.pop(0):
            if isinstance(part, bytes):
                self._outgoing += part
            elif isinstance(part, dict):
                self._outgoing += pack_control(request, part)
            else:
                self._outgoing += pack(part[0], request, part[1])

    def recv(self, timeout: float) -> bytes:
        # In pieces that end where no frame does.
        piece, self._outgoing = self._outgoing[:7], self._outgoing[7:]
        return piece

    def close(self) -> None:
        self.closed = True


class SilentAttachment:
    """A container that takes everything and says nothing."""

    def send(self, data: bytes) -> None:
        pass

    def recv(self, timeout: float) -> bytes:
        raise TimeoutError

    def close(self) -> None:
        pass
