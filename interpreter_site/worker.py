from __future__ import annotations

import json
import socket
import struct
import time
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from gunicorn.http import Request, RequestParser
from gunicorn.http.errors import (  # type: ignore[attr-defined]  # types-gunicorn is for 26.
    ConfigurationProblem,
    ExpectationFailed,
    ForbiddenProxyRequest,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.workers.gthread import TConn, ThreadWorker

if TYPE_CHECKING:
    from gunicorn._types import _AddressType

# For how long a client may go on sending what nobody reads, for example the upload behind a 401.
LINGER_SECONDS = 20.0
LINGER_SILENCE_SECONDS = 2.0
CHUNK = 64 * 1024


class TooSlow(ParseException):
    """The client stopped in the middle of its request's headers."""


FAILURE = HTTPStatus.INTERNAL_SERVER_ERROR, "Internal server error"
# What Django never sees. The first class that fits an exception decides.
ANSWERS: tuple[tuple[type[Exception], tuple[HTTPStatus, str]], ...] = (
    (TooSlow, (HTTPStatus.REQUEST_TIMEOUT, "Request timeout")),
    (LimitRequestLine, (HTTPStatus.REQUEST_URI_TOO_LONG, "Request line too long")),
    (
        LimitRequestHeaders,
        (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "Request headers too large"),
    ),
    (ExpectationFailed, (HTTPStatus.EXPECTATION_FAILED, "Expectation failed")),
    (
        UnsupportedTransferCoding,
        (HTTPStatus.NOT_IMPLEMENTED, "Transfer coding not supported"),
    ),
    (ForbiddenProxyRequest, (HTTPStatus.FORBIDDEN, "Forbidden")),
    # Of the errors that gunicorn calls the parser's, these are ours.
    (ConfigurationProblem, FAILURE),
    (InvalidResponseHeader, FAILURE),
    (InvalidResponseHeaderName, FAILURE),
    (ParseException, (HTTPStatus.BAD_REQUEST, "Bad request")),
)


class Requests(RequestParser):
    def __next__(self) -> Request:
        try:
            return super().__next__()
        except BlockingIOError as error:
            raise TooSlow from error


class LingeringWorker(ThreadWorker):
    """Closes each connection in the request's own thread, and only once its client is done.

    gunicorn closes in its event loop, where one slow client keeps all others out for two seconds,
    and after 64 KiB of unread upload, so that the client sees a reset instead of its answer.
    """

    # A client that neither sends nor reads for so long loses its connection, and frees its thread.
    silence_seconds = 60

    def init_process(self) -> None:
        for listener in self.sockets:
            # Accepted connections inherit these from their listener.
            silence = struct.pack("ll", self.silence_seconds, 0)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                listener.setsockopt(socket.SOL_SOCKET, option, silence)
        super().init_process()

    def handle(self, conn: TConn) -> bool:
        if conn.parser is None and not conn.cfg.is_ssl:
            conn.parser = Requests(conn.cfg, conn.sock, conn.client)
        again = super().handle(conn)
        if again is False:
            linger(conn.sock)
            conn.close()
            # The event loop has nothing left to do.
            conn.close = closed  # type: ignore[method-assign]
        return again

    def handle_request(self, req: Request, conn: TConn) -> bool:
        try:
            return super().handle_request(req, conn)
        except BlockingIOError:
            self.log.warning("A client stopped reading its answer")
            return False

    def handle_error(
        self,
        req: Request | None,
        client: socket.socket,
        addr: _AddressType,
        exc: BaseException,
    ) -> None:
        """gunicorn answers in HTML, and logs and returns what it could not read, keys included."""
        status, error = next((answer for kind, answer in ANSWERS if isinstance(exc, kind)), FAILURE)
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log.exception("Error handling request %s", req.uri if req else "(not read)")
        else:
            origin = addr[0] if isinstance(addr, tuple) else "a local client"
            self.log.warning("Refused a request from %s: %s", origin, type(exc).__name__)
        body = json.dumps({"error": error})
        with suppress(OSError):
            client.sendall(
                f"HTTP/1.1 {status.value} {status.phrase}\r\n"
                "Content-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n"
                "Cache-Control: no-store\r\n"
                "Connection: close\r\n"
                f"\r\n{body}".encode()
            )


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
