"""multipart/form-data as a stream of parts, none of which is ever held in memory.

python-multipart splits the body. Names are read here: LibreChat compares them byte for byte, and
common parsers cut off directories and change what they read of `filename="a";b.csv"`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from django.utils.http import parse_header_parameters
from python_multipart import MultipartParser
from python_multipart.exceptions import MultipartParseError

CHUNK = 64 * 1024
MAX_PARTS = 10_000
MAX_HEADERS = 32
# Of one header. A file's name is in one, with all its directories.
MAX_HEADER_BYTES = 16 * 1024
BOUNDARY = re.compile(r"[ -~]{0,199}[!-~]")
# form-data and browsers write the field's name first and the file's name last, and the former
# escapes nothing: only the line's last quotation mark is sure to end the name.
DISPOSITION = re.compile(
    rb"form-data *; *name=(?:\"(?P<field>[^\"]*)\"|(?P<token>[^\"; ]+))"
    rb"(?: *; *filename=\"(?P<filename>.*)\")? *",
    re.IGNORECASE,
)
EXTENDED = re.compile(rb";\s*filename\*\s*=", re.IGNORECASE)


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class MalformedBody(ValueError):
    """It is no multipart body, or it ends too early."""


@dataclass(frozen=True, slots=True)
class Part:
    field: str
    # As the client wrote it; None where the part is no file.
    filename: str | None
    content_type: str
    # To be read, or not, before the next part is asked for.
    content: Iterator[bytes]


def boundary_of(content_type: str) -> bytes:
    media_type, parameters = parse_header_parameters(content_type)
    boundary = parameters.get("boundary", "")
    if media_type != "multipart/form-data" or not BOUNDARY.fullmatch(boundary):
        raise MalformedBody("no boundary")
    return boundary.encode()


def parts(stream: Readable, boundary: bytes) -> Iterator[Part]:
    events = _events(stream, boundary)
    _headers(events)
    preamble = sum(len(content.strip()) for content in _content(events))
    for number in range(MAX_PARTS):
        headers = _headers(events)
        if headers is None:
            if preamble and number == 0:
                raise MalformedBody("text without a part")
            return
        content = _content(events)
        field, filename = disposition(headers.get(b"content-disposition", b""))
        yield Part(field, filename, text(headers.get(b"content-type", b"")), content)
        for _ in content:
            pass
    raise MalformedBody("too many parts")


class _Event(Enum):
    HEADER_NAME = auto()
    HEADER_VALUE = auto()
    HEADER_END = auto()
    HEADERS_END = auto()
    CONTENT = auto()
    PART_END = auto()


_Events = Iterator[tuple[_Event, bytes]]


def _events(stream: Readable, boundary: bytes) -> _Events:
    """What the parser finds in the stream, up to the last boundary."""
    found: list[tuple[_Event, bytes]] = []
    ended = False

    def mark(event: _Event) -> Callable[[], None]:
        return lambda: found.append((event, b""))

    def piece(event: _Event) -> Callable[[bytes, int, int], None]:
        return lambda data, start, end: found.append((event, data[start:end]))

    def end() -> None:
        nonlocal ended
        ended = True

    parser = MultipartParser(
        boundary,
        {
            "on_header_field": piece(_Event.HEADER_NAME),
            "on_header_value": piece(_Event.HEADER_VALUE),
            "on_header_end": mark(_Event.HEADER_END),
            "on_headers_finished": mark(_Event.HEADERS_END),
            "on_part_data": piece(_Event.CONTENT),
            "on_part_end": mark(_Event.PART_END),
            "on_end": end,
        },
        max_header_count=MAX_HEADERS,
        max_header_size=MAX_HEADER_BYTES,
    )
    # The parser knows no preamble, so it gets a part of ours to take it for. The last line's end
    # belongs to the first boundary, which has no line before it.
    chunk = b"--" + boundary + b"\r\n\r\n\r\n"
    while chunk:
        try:
            parser.write(chunk)
        except MultipartParseError as error:
            raise MalformedBody("not well formed") from error
        yield from found
        if ended:
            return
        found.clear()
        chunk = stream.read(CHUNK)
    raise MalformedBody("ended early")


def _headers(events: _Events) -> dict[bytes, bytes] | None:
    """The next part's, or None where the body has ended."""
    headers = {}
    name = value = b""
    for event, data in events:
        match event:
            case _Event.HEADER_NAME:
                name += data
            case _Event.HEADER_VALUE:
                value += data
            case _Event.HEADER_END:
                headers[name.lower()] = value.strip()
                name = value = b""
            case _:
                return headers
    return None


def _content(events: _Events) -> Iterator[bytes]:
    for event, data in events:
        if event is _Event.PART_END:
            return
        yield data


def disposition(value: bytes) -> tuple[str, str | None]:
    """The field's and the file's name of a Content-Disposition header. An empty file name is a
    form's file input in which nothing was chosen."""
    match = None if EXTENDED.search(value) else DISPOSITION.fullmatch(value)
    if match:
        field = match["field"] if match["token"] is None else match["token"]
        return text(field), text(match["filename"] or b"") or None
    try:
        _, parameters = parse_header_parameters(text(value))
    except ValueError as error:
        raise MalformedBody("no content disposition") from error
    return parameters.get("name", ""), parameters.get("filename") or None


def text(value: bytes) -> str:
    return value.decode(errors="replace")
