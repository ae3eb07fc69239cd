"""multipart/form-data as a stream of parts, none of which is ever held in memory.

Django's parser cuts directories off file names, drops parts whose names it cannot decode and
changes what it reads of `filename="a";b.csv"`. LibreChat compares names byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from django.utils.http import parse_header_parameters

CHUNK = 64 * 1024
# Each part costs a copy of what has been read ahead.
MAX_PARTS = 10_000
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
    reader = _Reader(stream, b"\r\n--" + boundary)
    _exhaust(reader.until_delimiter())
    for _ in range(MAX_PARTS):
        if not reader.has_part():
            return
        headers = reader.headers()
        content = reader.until_delimiter()
        field, filename = disposition(headers.get(b"content-disposition", b""))
        yield Part(field, filename, text(headers.get(b"content-type", b"")), content)
        _exhaust(content)
    raise MalformedBody("too many parts")


class _Reader:
    def __init__(self, stream: Readable, delimiter: bytes) -> None:
        self._stream = stream
        self._delimiter = delimiter
        # The first delimiter has no line before it.
        self._buffer = b"\r\n"

    def until_delimiter(self) -> Iterator[bytes]:
        # What could be the beginning of a delimiter stays until more has come.
        held_back = len(self._delimiter) - 1
        while (end := self._buffer.find(self._delimiter)) < 0:
            content, rest = self._buffer[:-held_back], self._buffer[-held_back:]
            self._buffer = rest
            if content:
                yield content
            self._fill()
        content = self._buffer[:end]
        self._buffer = self._buffer[end + len(self._delimiter) :]
        if content:
            yield content

    def has_part(self) -> bool:
        """Whether the delimiter just read begins a part, or ends the body."""
        while len(self._buffer) < 2:
            self._fill()
        if self._buffer.startswith(b"--"):
            return False
        line = self._take_to(b"\r\n")
        if line.strip(b" \t"):
            raise MalformedBody("text after a boundary")
        return True

    def headers(self) -> dict[bytes, bytes]:
        headers = {}
        size = 0
        while line := self._take_to(b"\r\n"):
            size += len(line)
            if size > MAX_HEADER_BYTES:
                raise MalformedBody("headers too long")
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip()
        return headers

    def _take_to(self, end: bytes) -> bytes:
        while (index := self._buffer.find(end)) < 0:
            if len(self._buffer) > MAX_HEADER_BYTES:
                raise MalformedBody("line too long")
            self._fill()
        taken = self._buffer[:index]
        self._buffer = self._buffer[index + len(end) :]
        return taken

    def _fill(self) -> None:
        chunk = self._stream.read(CHUNK)
        if not chunk:
            raise MalformedBody("ended early")
        self._buffer += chunk


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


def _exhaust(content: Iterator[bytes]) -> None:
    for _ in content:
        pass
