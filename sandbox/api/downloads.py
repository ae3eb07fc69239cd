from __future__ import annotations

from pathlib import PurePosixPath
from typing import TypeVar
from urllib.parse import quote

from django.http import FileResponse, HttpResponse
from django.http.response import HttpResponseBase

from audit.models import SandboxFile
from sandbox import services

Kind = TypeVar("Kind", bound=HttpResponseBase)

# LibreChat up to 0.8.7 copies our headers into its own answer, under its own origin. A type that a
# browser could run as a page or a script there is not told; the file's name says it anyway.
INERT_TYPES = frozenset(
    {
        "application/gzip",
        "application/json",
        "application/msword",
        "application/pdf",
        "application/vnd.ms-excel",
        "application/vnd.ms-powerpoint",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/zip",
        "audio/mpeg",
        "audio/wav",
        "image/bmp",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/tiff",
        "image/webp",
        "text/csv",
        "text/markdown",
        "text/plain",
        "text/tab-separated-values",
        "video/mp4",
        "video/webm",
    }
)


def download(file: SandboxFile) -> FileResponse:
    response = FileResponse(services.open_file(file), content_type=content_type(file))
    return with_headers(response, file)


def head(file: SandboxFile) -> HttpResponse:
    return with_headers(HttpResponse(content_type=content_type(file)), file)


def content_type(file: SandboxFile) -> str:
    return file.content_type if file.content_type in INERT_TYPES else "application/octet-stream"


def with_headers(response: Kind, file: SandboxFile) -> Kind:
    response["Content-Length"] = str(file.size)
    response["Content-Disposition"] = attachment(file.name)
    response["X-Content-Type-Options"] = "nosniff"
    if file.read_only:
        response["X-Read-Only"] = "true"
    return response


def attachment(name: str) -> str:
    """Both forms of RFC 6266. The plain one has nothing in it that could end it early."""
    base = PurePosixPath(name).name
    plain = "".join(
        char if char.isascii() and char.isprintable() and char not in '"\\%' else "_"
        for char in base
    )
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(base, safe='')}"
