"""What a hostile program can say to the zygote. Runs inside the container as well, so it imports
nothing that is not there, and knows of the wire format only what image/python/client.c does."""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import Mapping, Sequence

SOCKET = "/run/code/python3"
MAGIC = 0x70793331
HEAD = struct.Struct("=10IiIQQ32Q128s16s")
EVENT = struct.Struct("=ii")
UNLIMITED = 2**64 - 1
KINDS = {"command": b"c"[0], "module": b"m"[0], "script": b"f"[0], "stdin": b"s"[0]}


def payload(
    numbers: Sequence[int], arguments: Sequence[bytes], variables: Mapping[bytes, bytes]
) -> bytes:
    strings = [*arguments, *(b"%s=%s" % item for item in variables.items())]
    return struct.pack(f"={len(numbers)}i", *numbers) + b"".join(each + b"\0" for each in strings)


def head(
    size: int,
    *,
    magic: int = MAGIC,
    descriptors: int = 3,
    arguments: int = 3,
    variables: int = 0,
    kind: int = KINDS["command"],
    first: int = 2,
    offset: int = 0,
    unbuffered: int = 0,
    umask: int = 0o22,
    nice: int = 0,
    ignored: int = 0,
    blocked: int = 0,
    limits: Sequence[int] = (UNLIMITED,) * 32,
    affinity: int = 2**1024 - 1,
    name: bytes = b"python3",
) -> bytes:
    return HEAD.pack(
        magic,
        size,
        descriptors,
        arguments,
        variables,
        kind,
        first,
        offset,
        unbuffered,
        umask,
        nice,
        0,
        ignored,
        blocked,
        *limits,
        affinity.to_bytes(128, "little"),
        name,
    )


def own_limits() -> list[int]:
    import resource

    pairs = [resource.getrlimit(number) for number in range(16)]
    return [UNLIMITED if limit == -1 else limit for pair in pairs for limit in pair]


def own_affinity() -> int:
    return sum(1 << cpu for cpu in os.sched_getaffinity(0))


def program(code: str, **fields: int) -> bytes:
    """A request that is in order, for the three standard descriptors."""
    arguments = [b"python3", b"-c", code.encode()]
    variables = {name: value for name, value in os.environb.items() if b"=" not in name}
    rest = payload([0, 1, 2], arguments, variables)
    values = {"limits": own_limits(), "affinity": own_affinity(), **fields}
    return head(len(rest), variables=len(variables), **values) + rest  # type: ignore[arg-type]


def connect(timeout: float = 20) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    connection.connect(SOCKET)
    return connection


def send(connection: socket.socket, data: bytes, descriptors: Sequence[int] = ()) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
    connection.sendmsg([data[:1]], rights if descriptors else [])
    connection.sendall(data[1:])


def event(connection: socket.socket) -> tuple[str, int]:
    data = connection.recv(EVENT.size, socket.MSG_WAITALL)
    if len(data) < EVENT.size:
        return "", 0
    what, value = EVENT.unpack(data)
    return chr(what), value
