"""Forms as the npm package form-data writes them: it escapes nothing in a name."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

# As a part's head says it; what is not known here is bytes.
TYPES = {".csv": "text/csv", ".md": "text/markdown", ".txt": "text/plain"}
UNKNOWN = "application/octet-stream"


def form(fields: Mapping[str, str], files: Mapping[str, bytes]) -> tuple[str, bytes]:
    """The content type, and the body: the fields first."""
    boundary = f"--------------------------{secrets.randbelow(10**24):024}"
    parts = [
        _part(boundary, f'name="{name}"', value.encode(), "") for name, value in fields.items()
    ]
    parts += [
        _part(boundary, f'name="file"; filename="{name}"', content, _type_of(name))
        for name, content in files.items()
    ]
    return f"multipart/form-data; boundary={boundary}", b"".join([*parts, _end(boundary)])


def _part(boundary: str, disposition: str, content: bytes, kind: str) -> bytes:
    head = f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n"
    if kind:
        head += f"Content-Type: {kind}\r\n"
    return head.encode() + b"\r\n" + content + b"\r\n"


def _end(boundary: str) -> bytes:
    return f"--{boundary}--\r\n".encode()


def _type_of(name: str) -> str:
    return TYPES.get("." + name.rpartition(".")[2], UNKNOWN)
