from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any


def client_gone(environ: Mapping[str, Any]) -> Callable[[], bool]:
    """Whether the client has closed its connection. Only gunicorn gives us the socket to ask;
    elsewhere the client always counts as there."""
    connection = environ.get("gunicorn.socket")

    def gone() -> bool:
        if not isinstance(connection, socket.socket):
            return False
        try:
            return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
        except ValueError:
            # A TLS socket cannot peek.
            return False

    return gone
