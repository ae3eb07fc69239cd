"""What the image's `python3` sends: a process's whole situation, for another one to take over.

Read by a process that already has no more rights than the one that sent it.
"""

from __future__ import annotations

import fcntl
import os
import resource
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass

# As in image/python/client.c.
MAGIC = 0x70793331
LIMITS = 16
HEAD = struct.Struct(f"=10IiIQQ{2 * LIMITS}Q128s16s")
EVENT = struct.Struct("=ii")
PEER = struct.Struct("iII")
PID, BEGUN, ENDED, STOPPED = b"PBES"
COMMAND, MODULE, SCRIPT, STDIN = b"cmfs"
UNSIGNED_MAX = 2**64 - 1

# More than the kernel lets through an exec.
MAX_PAYLOAD = 8 * 1024 * 1024
MAX_DESCRIPTORS = 251
# How long the other end may be silent. One that was stopped that long finds its connection closed,
# and goes on without us.
PATIENCE_SECONDS = 10.0


class BadRequest(Exception):
    """Nothing that the image's `python3` would send."""


@dataclass(frozen=True)
class Situation:
    """All that a process has from the one that started it."""

    arguments: list[bytes]
    environment: dict[bytes, bytes]
    kind: int
    first: int
    offset: int
    unbuffered: bool
    umask: int
    nice: int
    ignored: set[int]
    blocked: set[int]
    limits: list[tuple[int, int]]
    affinity: set[int]
    name: bytes
    directory: int
    # What the program shall find under which number.
    descriptors: dict[int, int]

    def take_over(self, keep: int) -> int:
        """Everything but variables and signals. Returns the new number of `keep`, which stays
        open and is none of the program's."""
        os.fchdir(self.directory)
        keep = place_descriptors(self.descriptors, keep)
        os.umask(self.umask)
        for number, limits in enumerate(self.limits):
            if resource.getrlimit(number) != limits:
                resource.setrlimit(number, limits)
        if self.nice > os.getpriority(os.PRIO_PROCESS, 0):
            os.setpriority(os.PRIO_PROCESS, 0, self.nice)
        if self.affinity != os.sched_getaffinity(0):
            os.sched_setaffinity(0, self.affinity)
        return keep


def receive(connection: socket.socket) -> Situation:
    """Raises BadRequest for anything that is not whole and consistent, and keeps no descriptor."""
    connection.settimeout(PATIENCE_SECONDS)
    received: list[int] = []
    try:
        data, received, flags, _ = socket.recv_fds(connection, HEAD.size, MAX_DESCRIPTORS)
        if flags & socket.MSG_CTRUNC or not received:
            raise BadRequest("its descriptors did not come")
        situation = _situation(connection, data, received)
        connection.settimeout(None)
    except BaseException as error:
        for descriptor in received:
            os.close(descriptor)
        if isinstance(error, OSError):
            raise BadRequest("it has gone, or says nothing") from error
        raise
    return situation


def _situation(connection: socket.socket, data: bytes, received: list[int]) -> Situation:
    head = HEAD.unpack(data + _read(connection, HEAD.size - len(data)))
    magic, size, descriptors, arguments, variables, kind, first, offset, unbuffered, umask = head[
        :10
    ]
    if magic != MAGIC or size > MAX_PAYLOAD or descriptors != len(received) - 1:
        raise BadRequest("its head is wrong")
    payload = _read(connection, size)
    if size < 4 * descriptors:
        raise BadRequest("it does not number its descriptors")
    numbers = struct.unpack_from(f"={descriptors}i", payload)
    if any(number < 0 for number in numbers) or len(set(numbers)) != descriptors:
        raise BadRequest("its descriptors' numbers are none")
    strings = payload[4 * descriptors :].split(b"\0")
    if strings.pop() or len(strings) != arguments + variables:
        raise BadRequest("its arguments do not fit")
    if not _is_program(strings[:arguments], kind, first, offset):
        raise BadRequest("it says nothing that can be run")
    nice, _, ignored, blocked = head[10:14]
    limits = head[14 : 14 + 2 * LIMITS]
    affinity, name = head[-2:]
    return Situation(
        arguments=strings[:arguments],
        environment=_environment(strings[arguments:]),
        kind=kind,
        first=first,
        offset=offset,
        unbuffered=bool(unbuffered),
        umask=umask & 0o777,
        nice=nice,
        ignored=_bits(ignored, 1),
        blocked=_bits(blocked, 1),
        limits=[
            (_limit(soft), _limit(hard))
            for soft, hard in zip(limits[::2], limits[1::2], strict=True)
        ],
        affinity=_bits(int.from_bytes(affinity, "little"), 0),
        name=name.rstrip(b"\0"),
        directory=received[0],
        descriptors=dict(zip(numbers, received[1:], strict=True)),
    )


def _is_program(arguments: list[bytes], kind: int, first: int, offset: int) -> bool:
    if kind == STDIN:
        return 0 < len(arguments) >= first > 0
    known = kind in (COMMAND, MODULE, SCRIPT)
    return known and 0 < first < len(arguments) and offset <= len(arguments[first])


def peer(connection: socket.socket) -> int:
    """The process that has connected."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size)
    pid: int = PEER.unpack(credentials)[0]
    return pid


def _read(connection: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = connection.recv(min(size, 1024 * 1024))
        if not part:
            raise BadRequest("it ends too early")
        size -= len(part)
        parts.append(part)
    return b"".join(parts)


def _environment(variables: list[bytes]) -> dict[bytes, bytes]:
    environment: dict[bytes, bytes] = {}
    for variable in variables:
        name, equals, value = variable.partition(b"=")
        if not name or not equals:
            raise BadRequest("its variables are none")
        # Of two with one name, the first is what programs get to see.
        environment.setdefault(name, value)
    return environment


def _bits(number: int, first: int) -> set[int]:
    return {first + bit for bit in range(number.bit_length()) if number >> bit & 1}


def _limit(value: int) -> int:
    """The module takes signed numbers only, and says so by another exception."""
    if UNSIGNED_MAX > value > 2**63 - 1:
        raise BadRequest("its limits are none")
    return resource.RLIM_INFINITY if value == UNSIGNED_MAX else value


def place_descriptors(wanted: Mapping[int, int], keep: int) -> int:
    """Give descriptors the numbers that they are wanted under, and close all others but `keep`,
    whose new number is returned."""
    above = max(wanted, default=0) + 1
    keep = fcntl.fcntl(keep, fcntl.F_DUPFD_CLOEXEC, above)
    sources = {
        number: fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, above)
        for number, source in wanted.items()
    }
    for number, source in sources.items():
        os.dup2(source, number)
    start = 0
    for number in [*sorted({*wanted, keep}), resource.getrlimit(resource.RLIMIT_NOFILE)[0]]:
        # An empty range would close everything.
        if start < number:
            os.closerange(start, number)
        start = number + 1
    return keep
