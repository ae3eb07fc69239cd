"""The frames that the server and a container's runner exchange over the container's stdin and
stdout: `>IIB` (payload length, request id, type), then the payload."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from typing import Any

HEADER = struct.Struct(">IIB")

CONTROL, DATA, STDOUT, STDERR = range(4)
MAX_CONTROL = 4 * 1024 * 1024
MAX_DATA = 256 * 1024
LONGEST = {CONTROL: MAX_CONTROL, DATA: MAX_DATA, STDOUT: MAX_DATA, STDERR: MAX_DATA}

Control = dict[str, Any]


class BrokenStream(Exception):
    """What came is not a frame: neither end can tell any more where the next one begins."""


def pack(kind: int, request: int, payload: bytes | memoryview) -> bytes:
    if len(payload) > LONGEST[kind]:
        raise BrokenStream(f"a frame of {len(payload)} bytes is too long")
    return b"".join((HEADER.pack(len(payload), request, kind), payload))


def pack_control(request: int, message: Control) -> bytes:
    # A program's arguments may hold lone surrogates, which JSON allows and UTF-8 does not.
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    return pack(CONTROL, request, text.encode(errors="surrogatepass"))


def unpack_header(header: bytes | bytearray | memoryview) -> tuple[int, int, int]:
    """Payload length, request id and type."""
    length, request, kind = HEADER.unpack(header)
    if length > LONGEST.get(kind, -1):
        raise BrokenStream(f"not a frame: type {kind}, {length} bytes")
    return length, request, kind


def parse_control(payload: bytes | bytearray) -> Control:
    try:
        message = json.loads(bytes(payload).decode(errors="surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise BrokenStream("a control frame is not JSON") from error
    if not isinstance(message, dict):
        raise BrokenStream("a control frame is not a JSON object")
    return message


def _digest() -> str:
    digest = hashlib.sha256()
    directory = os.path.dirname(__file__)
    for name in sorted(os.listdir(directory)):
        if name.endswith(".py"):
            with open(f"{directory}/{name}", "rb") as file:
                source = file.read()
            digest.update(f"{name} {len(source)}\n".encode() + source)
    return digest.hexdigest()[:16]


# Computed from this package's sources on both ends, so that any difference between the server
# and the image shows, without a number that somebody must remember to raise.
VERSION = _digest()
