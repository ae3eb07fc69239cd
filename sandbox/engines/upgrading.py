"""An HTTP connection that the server gives up to raw bytes, over a Unix socket.

The container engine's own client can do this too, in four times the time.
"""

from __future__ import annotations

import re
import socket

END = b"\r\n\r\n"
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
LONGEST = 64 * 1024
# What is no longer HTTP.
UPGRADED = (101, 200)


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def upgrade(path: str, target: str, *, seconds: float) -> socket.socket:
    """The connection, at the first byte that is no longer HTTP. Raises `Refused` and `OSError`."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(seconds)
        connection.connect(path)
        connection.sendall(
            f"POST {target} HTTP/1.1\r\nHost: localhost\r\n"
            "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n".encode()
        )
        head = _head(connection)
        found = STATUS.match(head)
        status = int(found[1]) if found else 0
        if status not in UPGRADED:
            raise Refused(status, connection.recv(LONGEST).decode(errors="replace").strip())
    except BaseException:
        connection.close()
        raise
    return connection


def _head(connection: socket.socket) -> bytes:
    """Not a byte more is taken than belongs to it."""
    head = b""
    while not head.endswith(END):
        coming = connection.recv(LONGEST, socket.MSG_PEEK)
        if not coming or len(head) > LONGEST:
            raise OSError("the answer is no HTTP")
        end = (head + coming).find(END)
        taken = len(coming) if end < 0 else end + len(END) - len(head)
        head += connection.recv(taken)
    return head
