"""Files on their way from a multipart body into the store."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.conf import settings
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.request import Request

from sandbox.api import multipart
from sandbox.api.errors import InvalidRequest
from sandbox.api.text import CONTROL_CHARACTERS, LONE_SURROGATES
from sandbox.errors import FileTooLarge
from sandbox.names import is_safe_name
from sandbox.runner.names import COMPONENT_BYTES
from sandbox.services import Incoming
from sandbox.store import IncomingFile

MB = 1024 * 1024
# As many as LibreChat's official server takes in one batch.
MAX_FILES = 200
MAX_FIELDS = 100
MAX_FIELD_BYTES = 64 * 1024
MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,100}/[A-Za-z0-9!#$&^_.+-]{1,100}")
ANYTHING = "application/octet-stream"


@dataclass(slots=True)
class Arrival:
    """One file part."""

    # As the client wrote it: it compares the answer's names with its own.
    filename: str
    content_type: str
    file: IncomingFile
    too_large: bool = False

    def incoming(self) -> Incoming:
        name = stored_name(self.filename)
        return Incoming(name=name, content_type=media_type(self.content_type, name), file=self.file)


@dataclass(slots=True)
class Received:
    fields: dict[str, str] = field(default_factory=dict)
    arrivals: list[Arrival] = field(default_factory=list)
    # There were more than MAX_FILES; the rest was not read.
    limit_reached: bool = False

    @property
    def complete(self) -> list[Arrival]:
        return [arrival for arrival in self.arrivals if not arrival.too_large]

    def discard(self) -> None:
        for arrival in self.arrivals:
            arrival.file.discard()


@contextmanager
def receive(request: Request, *, batch: bool) -> Iterator[Received]:
    """Everything in the body. Unless the caller succeeds, nothing of it stays on the disk.

    In a batch a file over the limit is that file's failure, otherwise the request's.
    """
    if not request.content_type.lower().startswith("multipart/form-data"):
        raise UnsupportedMediaType(request.content_type)
    received = Received()
    try:
        if request.stream is not None:
            try:
                boundary = multipart.boundary_of(request.content_type)
                read_parts(multipart.parts(request.stream, boundary), received, batch=batch)
            except multipart.MalformedBody as error:
                raise ParseError(f"The body is not valid multipart/form-data: {error}.") from error
        if not received.arrivals:
            raise InvalidRequest("No files provided")
        yield received
    except BaseException:
        received.discard()
        raise


def read_parts(parts: Iterator[multipart.Part], received: Received, *, batch: bool) -> None:
    for part in parts:
        if part.filename is None:
            if len(received.fields) >= MAX_FIELDS:
                raise ParseError(f"More than {MAX_FIELDS} fields.")
            received.fields.setdefault(part.field, field_value(part))
        elif len(received.arrivals) < MAX_FILES:
            receive_file(part.filename, part, received, batch=batch)
        elif batch:
            received.limit_reached = True
        else:
            raise ParseError(f"More than {MAX_FILES} files.")


def field_value(part: multipart.Part) -> str:
    value = b""
    for chunk in part.content:
        value += chunk
        if len(value) > MAX_FIELD_BYTES:
            raise ParseError("A field is too long.")
    return multipart.text(value)


def receive_file(filename: str, part: multipart.Part, received: Received, *, batch: bool) -> None:
    arrival = Arrival(filename, part.content_type, IncomingFile())
    received.arrivals.append(arrival)
    limit = settings.SANDBOX_UPLOAD_MB * MB
    for chunk in part.content:
        if arrival.file.size + len(chunk) > limit:
            arrival.too_large = True
            arrival.file.discard()
            if batch:
                return
            raise FileTooLarge
        arrival.file.write(chunk)
    arrival.file.close()


def stored_name(filename: str) -> str:
    """A name that a workspace can hold, as near as can be to the client's. LibreChat up to 0.8.5
    uploads under the user's own name, and names the file anew when it uses it."""
    name = CONTROL_CHARACTERS.sub("_", LONE_SURROGATES.sub("_", filename))
    # Browsers and form-data write a quotation mark as it is, curl with a backslash.
    name = name.replace('\\"', '"').replace("\\", "_")
    parts = [shortened(part) for part in name.split("/") if part not in ("", ".", "..")]
    name = "/".join(parts)
    return name if is_safe_name(name) else shortened(parts[-1]) if parts else "file"


def shortened(part: str) -> str:
    """What no file system takes is cut from the middle: the extension tells the file's type."""
    if len(part.encode()) <= COMPONENT_BYTES:
        return part
    stem, dot, extension = part.rpartition(".")
    if not stem or len(extension.encode()) > 16:
        stem, dot, extension = part, "", ""
    room = COMPONENT_BYTES - len((dot + extension).encode())
    return stem.encode()[:room].decode(errors="ignore") + dot + extension


def media_type(declared: str, name: str) -> str:
    declared = declared.split(";")[0].strip().lower()
    if MEDIA_TYPE.fullmatch(declared) and declared != ANYTHING:
        return declared
    # Not as a URL: one that begins with "data:" would say its type itself, at any length.
    return mimetypes.guess_type(f"./{name}", strict=False)[0] or ANYTHING
