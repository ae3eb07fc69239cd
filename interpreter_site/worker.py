from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress

from gunicorn.workers.gthread import TConn, ThreadWorker

# A client that neither sends nor reads for so long loses its connection, and frees its thread.
SILENCE_SECONDS = 60
# For how long a client may go on sending what nobody reads, for example the upload behind a 401.
LINGER_SECONDS = 20.0
LINGER_SILENCE_SECONDS = 2.0
CHUNK = 64 * 1024


class LingeringWorker(ThreadWorker):
    """Closes each connection in the request's own thread, and only once its client is done.

    gunicorn closes in its event loop, where one slow client keeps all others out for two seconds,
    and after 64 KiB of unread upload, so that the client sees a reset instead of its answer.
    """

    def init_process(self) -> None:
        for listener in self.sockets:
            # Accepted connections inherit these from their listener.
            silence = struct.pack("ll", SILENCE_SECONDS, 0)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                listener.setsockopt(socket.SOL_SOCKET, option, silence)
        super().init_process()

    def handle(self, conn: TConn) -> bool:
        again = super().handle(conn)
        if again is False:
            linger(conn.sock)
            conn.close()
            # The event loop has nothing left to do.
            conn.close = closed  # type: ignore[method-assign]
        return again


def linger(connection: socket.socket) -> None:
    """Say that no more will come, and wait for the client to say the same."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(LINGER_SILENCE_SECONDS)
        deadline = time.monotonic() + LINGER_SECONDS
        while time.monotonic() < deadline and connection.recv(CHUNK):
            pass


def closed(graceful: bool = False) -> None:
    pass
