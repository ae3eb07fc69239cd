"""What is answered without Django: what it never sees, and what comes while the server stops."""

from __future__ import annotations

import json
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping


class TooSlow(ParseException):
    """The client took too long for its request's head."""


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


# While runs are going on that a server which was told to stop waits for.
STOPPING = {"error": "The server is stopping", "status": "stopping"}
# By then there is another server, or this one will not come back by itself.
RETRY_SECONDS = 5


def answer(
    client: socket.socket,
    status: HTTPStatus,
    content: Mapping[str, str],
    headers: Mapping[str, str] | None = None,
) -> None:
    """Without Django."""
    body = json.dumps(content)
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    with suppress(OSError):
        client.sendall(
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\n"
            "X-Content-Type-Options: nosniff\r\n"
            "Connection: close\r\n"
            f"{more}\r\n{body}".encode()
        )
