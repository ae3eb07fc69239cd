"""Bytes on their way into the store."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from sandbox import spool
from sandbox.errors import StoreUnavailable
from sandbox.store.backends import backend, reporting


def incoming_directory() -> Path:
    """Where bytes lie until all have come: beside a store that is a directory, so that keeping a
    file is one rename."""
    return Path(settings.SANDBOX_STORE_DIR) / ".incoming"


class IncomingFile:
    """No reader ever sees half a file, and a crash leaves nothing but a leftover to sweep."""

    def __init__(self) -> None:
        with reporting():
            directory = spool.directory(incoming_directory())
            # Closed by close() or discard(), which outlive this call.
            self._file = tempfile.NamedTemporaryFile(dir=directory, delete=False)  # noqa: SIM115
        self._hash = hashlib.sha256()
        self.size = 0
        self._kept = ""
        self._left = False

    def write(self, data: bytes) -> int:
        with reporting():
            self._file.write(data)
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def close(self) -> None:
        """All bytes are there. A run may leave a thousand files: none may hold a descriptor until
        the last one has come."""
        if self._file.closed:
            return
        with reporting():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def keep(self, store_key: str) -> None:
        """Make the bytes durable under their key."""
        self.close()
        # Before it is tried: a call whose answer was lost may have been carried out.
        self._kept = store_key
        backend().keep(Path(self._file.name), store_key)

    def leave(self) -> None:
        """Nobody knows whether its row was committed. Bytes without a row are swept some day; a
        row without bytes would be a lost file."""
        self._left = True

    def discard(self) -> None:
        """Leave nothing behind, also of a file that was kept but never got its row."""
        if self._left:
            return
        with suppress(OSError):
            self._file.close()
        Path(self._file.name).unlink(missing_ok=True)
        if self._kept:
            # If it cannot be reached, the bytes are swept some day as well.
            with suppress(StoreUnavailable):
                backend().delete(self._kept)
