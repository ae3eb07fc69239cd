"""A container's stdin and stdout over an HTTP connection that the engine has given up to them."""

from __future__ import annotations

import logging
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sandbox.errors import ContainerLost

logger = logging.getLogger(__name__)

SEND_SECONDS = 30.0
QUESTION_SECONDS = 1.0
RECEIVE_BYTES = 256 * 1024
LOG_BYTES = 16 * 1024

# Each piece of a container's output comes after a stream number and a length.
PIECE = struct.Struct(">BxxxI")
STDERR = 2


class HijackedConnection:
    """Docker attaches to a dead container as well, and is then silent: so whoever waits for the
    first sign of life asks from time to time whether there is any."""

    def __init__(self, upgraded: Any, *, is_alive: Callable[[], bool]) -> None:
        # With TLS this is the socket itself.
        self._socket: socket.socket = getattr(upgraded, "_sock", upgraded)
        self._upgraded = upgraded
        self._is_alive = is_alive
        self._has_answered = False
        self._question_due = 0.0
        self._log_room = LOG_BYTES
        self._received = bytearray()

    def send(self, data: bytes) -> None:
        deadline = time.monotonic() + SEND_SECONDS
        unsent = memoryview(data)
        try:
            self._socket.settimeout(QUESTION_SECONDS)
            while unsent:
                try:
                    unsent = unsent[self._socket.send(unsent) :]
                except TimeoutError:
                    if time.monotonic() > deadline or self._is_found_dead():
                        raise
        except OSError as error:
            raise ContainerLost("The container takes no data") from error

    def recv(self, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        while True:
            try:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                chunk = self._socket.recv(RECEIVE_BYTES)
            except TimeoutError:
                if self._is_found_dead():
                    return b""
                raise
            except OSError:
                return b""
            if not chunk:
                return b""
            self._has_answered = True
            self._received += chunk
            output = self._output()
            if output:
                return output
            if time.monotonic() > deadline:
                raise TimeoutError

    def close(self) -> None:
        """Closing the file object alone would leave the connection open, and with it the
        container's output blocked."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        response = getattr(self._upgraded, "_response", None)
        if response is not None:
            # First, since it flushes the file object that the next line closes.
            response.close()
        self._upgraded.close()

    def _is_found_dead(self) -> bool:
        if self._has_answered or time.monotonic() < self._question_due:
            return False
        self._question_due = time.monotonic() + QUESTION_SECONDS
        return not self._is_alive()

    def _output(self) -> bytes:
        """The whole and begun pieces of stdout in what was received."""
        output = bytearray()
        while len(self._received) >= PIECE.size:
            stream, length = PIECE.unpack_from(self._received)
            end = PIECE.size + length
            if len(self._received) < end:
                break
            piece = self._received[PIECE.size : end]
            del self._received[:end]
            if stream == STDERR:
                self._log(bytes(piece))
            else:
                output += piece
        return bytes(output)

    def _log(self, text: bytes) -> None:
        """Only the runner can write there, and only when something is wrong."""
        if self._log_room > 0:
            logger.warning("a container says: %s", ascii(text[: self._log_room].decode("latin-1")))
            self._log_room -= len(text)
