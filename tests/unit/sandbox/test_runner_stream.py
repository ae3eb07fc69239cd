from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from sandbox.runner.protocol import (
    CONTROL,
    DATA,
    HEADER,
    STDOUT,
    BrokenStream,
    pack,
    pack_control,
    parse_control,
)
from sandbox.runner.stream import Frame, Stream


class Pipes:
    """The far ends of a runner's stdin and stdout."""

    def __init__(self) -> None:
        incoming, self.stdin = os.pipe()
        self.stdout, outgoing = os.pipe()
        self.stream = Stream(incoming, outgoing)
        self._open = {incoming, self.stdin, self.stdout, outgoing}

    def say(self, data: bytes) -> None:
        os.write(self.stdin, data)

    def next_frame(self) -> Frame:
        while (frame := self.stream.feed()) is None:
            pass
        return frame

    def hang_up(self) -> None:
        os.close(self.stdin)
        self._open.remove(self.stdin)

    def close(self) -> None:
        for descriptor in self._open:
            os.close(descriptor)


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    pipes = Pipes()
    yield pipes
    pipes.close()


def test_a_frame_is_complete_with_its_last_byte(pipes: Pipes) -> None:
    frame = pack(DATA, 7, b"abc")
    for index in range(len(frame) - 1):
        pipes.say(frame[index : index + 1])
        assert pipes.stream.feed() is None
    pipes.say(frame[-1:])
    assert pipes.stream.feed() == Frame(7, DATA, b"abc")


def test_an_empty_frame_is_one_too(pipes: Pipes) -> None:
    pipes.say(pack(DATA, 7, b"") + pack_control(8, {"a": "\ud800ü"}))
    assert pipes.next_frame() == Frame(7, DATA, b"")
    request, kind, payload = pipes.next_frame()
    assert (request, kind, parse_control(payload)) == (8, CONTROL, {"a": "\ud800ü"})


def test_nothing_is_read_past_the_end_of_a_frame(pipes: Pipes) -> None:
    """A helper process goes on reading where PID 1 has stopped."""
    pipes.say(pack(CONTROL, 1, b"{}") + pack(DATA, 1, b"123") + pack(DATA, 1, b"45") + b"rest")
    pipes.next_frame()
    assert b"".join(pipes.stream.data(1, 5)) == b"12345"
    assert os.read(pipes.stream.incoming, 100) == b"rest"


@pytest.mark.parametrize(
    "frame",
    [
        pack(DATA, 2, b"123"),
        pack(STDOUT, 1, b"123"),
        pack_control(1, {"verb": "hello"}),
        pack(DATA, 1, b"1234"),
        HEADER.pack(3, 1, 77) + b"123",
    ],
    ids=["another request", "another type", "a request", "too much", "unknown"],
)
def test_data_must_be_what_was_announced(pipes: Pipes, frame: bytes) -> None:
    pipes.say(frame)
    with pytest.raises(BrokenStream):
        list(pipes.stream.data(1, 3))


def test_a_closed_stdin_is_the_end(pipes: Pipes) -> None:
    pipes.say(pack(DATA, 1, b"123")[:-1])
    pipes.hang_up()
    with pytest.raises(EOFError):
        pipes.next_frame()


def test_what_nobody_reads_is_kept_until_somebody_does(pipes: Pipes) -> None:
    for _ in range(10):
        pipes.stream.queue(1, STDOUT, bytes(100_000))
        pipes.stream.write_some()
    assert 0 < pipes.stream.unsent < 10 * (100_000 + HEADER.size)
    received = bytearray()

    def read() -> None:
        while len(received) < 10 * (100_000 + HEADER.size):
            received.extend(os.read(pipes.stdout, 65536))

    reader = threading.Thread(target=read)
    reader.start()
    pipes.stream.flush()
    reader.join()
    assert bytes(received) == pack(STDOUT, 1, bytes(100_000)) * 10
    assert pipes.stream.unsent == 0
