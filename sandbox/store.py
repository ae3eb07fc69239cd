"""The file store: the bytes of every `SandboxFile`, under its `store_key`."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

from sandbox import spool
from sandbox.errors import SandboxFileNotFound, StoreUnavailable

INCOMING = ".incoming"
# Far longer than it takes from the bytes to their row.
ABANDONED_SECONDS = 3600
# More often than a directory can be swept from under a file that comes into it.
MOVES = 10


@contextmanager
def _reporting() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"The file store failed: {error.strerror or error}") from error


def root() -> Path:
    return Path(settings.SANDBOX_STORE_DIR)


class IncomingFile:
    """Bytes on their way in. They lie beside the store, so that keeping them is one rename:
    no reader ever sees half a file, and a crash leaves nothing but a leftover to sweep."""

    def __init__(self) -> None:
        with _reporting():
            directory = spool.directory(root() / INCOMING)
            # Closed by close() or discard(), which outlive this call.
            self._file = tempfile.NamedTemporaryFile(dir=directory, delete=False)  # noqa: SIM115
        self._hash = hashlib.sha256()
        self.size = 0
        self._kept: Path | None = None
        self._left = False

    def write(self, data: bytes) -> int:
        with _reporting():
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
        with _reporting():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def keep(self, store_key: str) -> None:
        """Make the bytes durable under their key."""
        path = root() / store_key
        self.close()
        with _reporting():
            _move(Path(self._file.name), path)
            self._kept = path
            directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

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
        (self._kept or Path(self._file.name)).unlink(missing_ok=True)


def exists(store_key: str) -> bool:
    return (root() / store_key).is_file()


def open_file(store_key: str) -> BinaryIO:
    try:
        return (root() / store_key).open("rb")
    except FileNotFoundError as error:
        raise SandboxFileNotFound from error
    except OSError as error:
        raise StoreUnavailable(f"The file store failed: {error.strerror}") from error


def delete_file(store_key: str) -> None:
    with _reporting():
        (root() / store_key).unlink(missing_ok=True)


def delete_session(session_id: str) -> None:
    """Every file of the session, and its directory."""
    shutil.rmtree(root() / session_id[:2] / session_id, ignore_errors=True)


def sweep_incoming() -> int:
    """Remove what killed processes were receiving."""
    return spool.sweep(root() / INCOMING)


def kept_long_ago() -> Iterator[Path]:
    """Kept files, named by their ids, that are old enough to have a row."""
    before = time.time() - ABANDONED_SECONDS
    for session in _sessions():
        # It, or a file of it, may be deleted meanwhile.
        with suppress(FileNotFoundError):
            for path in list(session.iterdir()):
                with suppress(FileNotFoundError):
                    if path.is_file() and path.stat().st_mtime < before:
                        yield path


def sweep_directories() -> None:
    """Remove those of sessions that have no files: all were deleted one by one, or an upload
    failed after its directory had been made. Nothing else would ever come back to them."""
    for session in _sessions():
        # Mostly there are files in it.
        with suppress(OSError):
            session.rmdir()


def _sessions() -> Iterator[Path]:
    with suppress(FileNotFoundError):
        for prefix in list(root().iterdir()):
            if not prefix.name.startswith("."):
                yield from list(prefix.iterdir())


def _move(source: Path, path: Path) -> None:
    """Its directory may be swept just before the file is in it."""
    for _ in range(MOVES):
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            source.replace(path)
            return
    source.replace(path)
