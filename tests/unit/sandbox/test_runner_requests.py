"""What the image's `python3` sends, and whatever else may come in its place."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.runner import requests
from sandbox.runner.requests import HEAD, BadRequest, Situation, receive
from tests import junk

UINT32 = st.integers(0, 2**32 - 1)
UINT64 = st.integers(0, 2**64 - 1)
NEARBY = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 2**31 - 1, 2**31, 2**32 - 1])
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "magic": UINT32,
        "descriptors": NEARBY | UINT32,
        "arguments": NEARBY | UINT32,
        "variables": NEARBY | UINT32,
        "kind": st.sampled_from(sorted(junk.KINDS.values())) | UINT32,
        "first": NEARBY | UINT32,
        "offset": NEARBY | UINT32,
        "unbuffered": UINT32,
        "umask": UINT32,
        "nice": st.integers(-(2**31), 2**31 - 1),
        "ignored": UINT64,
        "blocked": UINT64,
        "limits": st.lists(UINT64, min_size=32, max_size=32),
        "affinity": st.integers(0, 2**1024 - 1),
        "name": st.binary(max_size=16),
    },
)
STRINGS = st.lists(st.binary(max_size=8), max_size=8).map(lambda parts: b"\0".join(parts))


def open_descriptors() -> set[Path]:
    return set(Path("/proc/self/fd").iterdir())


@contextmanager
def sent(data: bytes, descriptors: int, *, closed: bool = True) -> Iterator[socket.socket]:
    """The zygote's end of a connection through which this has come."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    null = os.open("/dev/null", os.O_RDWR)
    directory = os.open(".", os.O_PATH)
    given = [directory, *[null] * (descriptors - 1)][:descriptors]

    def write() -> None:
        # It may be refused before its end.
        with suppress(OSError):
            if data:
                junk.send(theirs, data, given)
        if closed:
            theirs.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield ours
    finally:
        ours.close()
        writer.join()
        theirs.close()
        os.close(null)
        os.close(directory)


def request(**fields: Any) -> bytes:
    rest = junk.payload([0, 1, 2], [b"python3", b"-c", b"print(1)"], {b"A": b"b=c", b"E": b""})
    return junk.head(len(rest), **{"variables": 2, **fields}) + rest


def received(data: bytes, descriptors: int = 4) -> Situation | None:
    """None if it was refused. Either way no descriptor is open that nobody knows of."""
    before = open_descriptors()
    situation = None
    with sent(data, descriptors) as connection:
        try:
            situation = receive(connection)
        except BadRequest:
            pass
        else:
            for descriptor in (situation.directory, *situation.descriptors.values()):
                os.close(descriptor)
    # What another test has left may be closed meanwhile.
    assert open_descriptors() <= before
    return situation


def test_a_request_that_is_in_order_is_taken() -> None:
    situation = received(request(ignored=0b1001, blocked=1 << 63, umask=0o7777, affinity=0b101))
    assert situation is not None
    assert situation.arguments == [b"python3", b"-c", b"print(1)"]
    assert situation.environment == {b"A": b"b=c", b"E": b""}
    assert (situation.kind, situation.first, situation.offset) == (ord("c"), 2, 0)
    assert (situation.ignored, situation.blocked) == ({1, 4}, {64})
    assert (situation.umask, situation.affinity) == (0o777, {0, 2})
    assert sorted(situation.descriptors) == [0, 1, 2]
    assert situation.name == b"python3"


def test_it_may_come_in_pieces_and_more_than_fits_into_a_buffer() -> None:
    rest = junk.payload([], [b"python3", b"x" * 3_000_000], {})
    situation = received(
        junk.head(len(rest), descriptors=0, arguments=2, kind=junk.KINDS["script"], first=1) + rest,
        descriptors=1,
    )
    assert situation is not None
    assert situation.arguments[1] == b"x" * 3_000_000
    assert situation.descriptors == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"magic": junk.MAGIC + 1},
        {"descriptors": 2},
        {"descriptors": 4},
        {"descriptors": 2**32 - 1},
        {"arguments": 2},
        {"arguments": 2**32 - 1, "variables": 6},
        {"variables": 1},
        {"arguments": 0, "variables": 5, "first": 0, "kind": junk.KINDS["stdin"]},
        {"kind": 0},
        {"kind": ord("x")},
        {"first": 0},
        {"first": 3},
        {"first": 2**32 - 1},
        {"offset": 9},
        {"offset": 2**32 - 1},
        {"kind": junk.KINDS["stdin"], "first": 0},
        {"kind": junk.KINDS["stdin"], "first": 4},
        {"limits": [2**63] * 32},
    ],
    ids=str,
)
def test_a_wrong_field_is_found(fields: dict[str, Any]) -> None:
    assert received(request(**fields)) is None


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"\0" * 11,
        junk.payload([0, 1, -1], [b"python3", b"-c", b"1"], {}),
        junk.payload([0, 1, 1], [b"python3", b"-c", b"1"], {}),
        junk.payload([0, 1, 2], [b"python3", b"-c", b"1"], {})[:-1],
        junk.payload([0, 1, 2], [b"python3", b"-c", b"1"], {}) + b"1",
    ],
    ids=["nothing", "short", "negative", "twice", "open end", "too much"],
)
def test_a_wrong_payload_is_found(rest: bytes) -> None:
    assert received(junk.head(len(rest), variables=0) + rest) is None


@pytest.mark.parametrize("variable", [b"", b"=1", b"no equals sign"])
def test_a_variable_is_a_name_and_a_value(variable: bytes) -> None:
    rest = struct.pack("=3i", 0, 1, 2) + b"python3\0-c\0001\0" + variable + b"\0"
    assert received(junk.head(len(rest), variables=1) + rest) is None


def test_a_payload_over_the_limit_is_not_waited_for() -> None:
    head = junk.head(requests.MAX_PAYLOAD + 1)
    with sent(head, 4, closed=False) as connection, pytest.raises(BadRequest, match="head"):
        receive(connection)


@pytest.mark.parametrize("descriptors", [0, 1, 3, 5, 252, 253])
def test_another_number_of_descriptors_is_found(descriptors: int) -> None:
    assert received(request(), descriptors) is None


def test_as_many_as_python3_sends_are_taken() -> None:
    rest = junk.payload(range(250), [b"python3"], {})
    head = junk.head(
        len(rest), descriptors=250, arguments=1, kind=junk.KINDS["stdin"], first=1, variables=0
    )
    situation = received(head + rest, descriptors=251)
    assert situation is not None
    assert len(situation.descriptors) == 250


@pytest.mark.parametrize("length", [0, 1, HEAD.size - 1, HEAD.size, HEAD.size + 1, -1])
def test_who_says_no_more_is_not_waited_for_for_ever(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "PATIENCE_SECONDS", 0.1)
    before = open_descriptors()
    with sent(request()[:length], 4, closed=False) as connection, pytest.raises(BadRequest):
        receive(connection)
    # What another test has left may be closed meanwhile.
    assert open_descriptors() <= before


def test_who_has_gone_in_the_middle_has_sent_nothing() -> None:
    data = request()
    for length in range(0, len(data), 7):
        assert received(data[:length]) is None


@given(data=st.binary(max_size=2 * HEAD.size), descriptors=st.integers(0, 5))
@settings(max_examples=300, deadline=None)
def test_bytes_that_mean_nothing_are_refused(data: bytes, descriptors: int) -> None:
    assert received(data, descriptors) is None


def with_size(fields: dict[str, Any], size: int | None, rest: bytes) -> bytes:
    return junk.head(len(rest) if size is None else size, **fields) + rest


@given(
    fields=FIELDS,
    size=st.none() | NEARBY | UINT32,
    numbers=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5),
    strings=STRINGS,
    descriptors=st.integers(0, 5),
)
@settings(max_examples=600, deadline=None)
def test_a_head_of_any_kind_is_refused_or_makes_sense(
    fields: dict[str, Any], size: int | None, numbers: list[int], strings: bytes, descriptors: int
) -> None:
    rest = struct.pack(f"={len(numbers)}i", *numbers) + strings
    makes_sense(received(with_size(fields, size, rest), descriptors))


@given(
    numbers=st.lists(st.integers(-3, 300), max_size=5),
    strings=st.lists(st.binary(max_size=8).filter(lambda each: b"\0" not in each), max_size=8),
    split=st.integers(0, 8),
    kind=st.sampled_from(sorted(junk.KINDS.values())),
    first=st.integers(0, 9),
    offset=st.integers(0, 9),
)
@settings(max_examples=600, deadline=None)
def test_so_is_one_that_is_nearly_right(
    numbers: list[int], strings: list[bytes], split: int, kind: int, first: int, offset: int
) -> None:
    arguments = min(split, len(strings))
    rest = struct.pack(f"={len(numbers)}i", *numbers) + b"".join(s + b"\0" for s in strings)
    fields: dict[str, Any] = {
        "descriptors": len(numbers),
        "arguments": arguments,
        "variables": len(strings) - arguments,
        "kind": kind,
        "first": first,
        "offset": offset,
    }
    makes_sense(received(junk.head(len(rest), **fields) + rest, descriptors=len(numbers) + 1))


def makes_sense(situation: Situation | None) -> None:
    if situation is None:
        return
    assert situation.arguments
    assert 0 < situation.first <= len(situation.arguments)
    if situation.kind != junk.KINDS["stdin"]:
        assert situation.offset <= len(situation.arguments[situation.first])
    assert all(number >= 0 for number in situation.descriptors)
    assert all(situation.environment)


@pytest.mark.parametrize(
    "change",
    [lambda data: data, lambda data: data[:50], lambda data: b"\1" + data[1:]],
    ids=["whole", "half", "wrong"],
)
def test_a_client_that_dies_at_any_time_leaves_no_descriptor(
    change: Callable[[bytes], bytes],
) -> None:
    before = open_descriptors()
    for _ in range(20):
        received(change(request()))
    # What another test has left may be closed meanwhile.
    assert open_descriptors() <= before
