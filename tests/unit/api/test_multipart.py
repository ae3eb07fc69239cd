from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.api.multipart import MalformedBody, Part, boundary_of, parts


class Dripping(io.RawIOBase):
    """A connection that gives only so many bytes at a time."""

    def __init__(self, body: bytes, step: int) -> None:
        self.body, self.step = io.BytesIO(body), step

    def read(self, size: int = -1, /) -> bytes:
        return self.body.read(min(size, self.step))


def body_of(contents: list[bytes], boundary: bytes) -> bytes:
    head = b'\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n'
    return b"".join(
        [
            *(b"--" + boundary + head + content + b"\r\n" for content in contents),
            b"--" + boundary + b"--\r\n",
        ]
    )


def read(body: bytes, boundary: bytes, step: int = 1 << 16) -> list[bytes]:
    return [b"".join(part.content) for part in parts(Dripping(body, step), boundary)]


PIECES = [b"\r", b"\n", b"\r\n", b"-", b"--", b"--b", b"\r\n--", b"\r\n--b", b"x", b"\0"]
# Lines that only begin as a boundary does.
PIECES += [b"\r\n--boundx", b"\r\n--bound-x", b"\r\n--bound\rx"]
almost_boundaries = st.lists(st.sampled_from(PIECES)).map(b"".join)


@given(st.lists(almost_boundaries, max_size=4), st.integers(1, 40))
def test_content_comes_through_however_it_is_split(contents: list[bytes], step: int) -> None:
    assert read(body_of(contents, b"bound"), b"bound", step) == contents


@given(st.lists(almost_boundaries, min_size=1, max_size=3), st.integers(1, 20), st.data())
def test_a_body_cut_anywhere_never_counts_as_whole(
    contents: list[bytes], step: int, data: st.DataObject
) -> None:
    body = body_of(contents, b"bound")
    # Without the last line's end it is still whole.
    cut = data.draw(st.integers(0, len(body) - 3))
    with pytest.raises(MalformedBody):
        read(body[:cut], b"bound", step)


def test_a_part_that_nobody_reads_is_skipped() -> None:
    body = body_of([b"one" * 50_000, b"two"], b"b")
    names: list[Part] = list(parts(io.BytesIO(body), b"b"))
    assert [part.filename for part in names] == ["x", "x"]


@given(st.integers(1, 20))
def test_names_come_through_byte_for_byte_however_they_are_split(step: int) -> None:
    name = 'ä/日本"; filename="b\\c.csv'
    body = body_of([b"x"], b"b").replace(b'"x"', f'"{name}"'.encode())
    [part] = parts(Dripping(body, step), b"b")
    assert (part.field, part.filename) == ("f", name)


def test_a_preamble_and_an_epilogue_are_no_parts() -> None:
    body = b"read this\r\n" + body_of([b"one"], b"b") + b"--b\r\n\r\nafter"
    assert read(body, b"b") == [b"one"]


@pytest.mark.parametrize(
    "body",
    [
        b"--b\r\n" + b"A: b\r\n" * 5000 + b"\r\nx\r\n--b--",
        b"--b\r\n" + b"A" * 40_000 + b"\r\n\r\nx\r\n--b--",
        b"--bX\r\n\r\nx\r\n--b--",
        b"--b\r\nno colon\r\n\r\nx\r\n--b--",
        b"--b\r\n\r\n\r\n" * 10_001 + b"x\r\n--b--",
    ],
    ids=["many headers", "long header", "text after boundary", "no header", "many parts"],
)
def test_what_could_go_on_forever_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        read(body, b"b")


def test_a_boundary_may_be_quoted() -> None:
    assert boundary_of('multipart/form-data; boundary="a b:c"') == b"a b:c"
    assert boundary_of("Multipart/Form-Data; charset=utf-8; boundary=abc") == b"abc"
