"""The store as a directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from audit.ids import is_id
from sandbox.errors import SandboxFileNotFound
from sandbox.store.backends import is_key, reporting

# More often than a directory can be swept from under a file that comes into it.
MOVES = 10


@dataclass(frozen=True)
class LocalStore:
    root: Path

    def keep(self, source: Path, key: str) -> None:
        path = self.root / key
        with reporting():
            _move(source, path)
            directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def open(self, key: str) -> BinaryIO:
        with reporting():
            try:
                return (self.root / key).open("rb")
            except FileNotFoundError as error:
                raise SandboxFileNotFound from error

    def exists(self, key: str) -> bool:
        return (self.root / key).is_file()

    def delete(self, key: str) -> None:
        with reporting():
            (self.root / key).unlink(missing_ok=True)

    def delete_session(self, session_id: str) -> None:
        shutil.rmtree(self.root / session_id[:2] / session_id, ignore_errors=True)

    def kept_before(self, seconds: float) -> Iterator[list[str]]:
        for prefix in _within(self.root):
            sessions = (session for session in _within(prefix) if self._is_ours(session))
            paths = (path for session in sessions for path in _within(session))
            keys = ((path, str(path.relative_to(self.root))) for path in paths)
            yield [key for path, key in keys if is_key(key) and _is_older(path, seconds)]

    def sweep_directories(self) -> None:
        """Of sessions without files: all were deleted one by one, or an upload failed after the
        directory had been made. Nothing else would ever come back to them."""
        for prefix in _within(self.root):
            for session in filter(self._is_ours, _within(prefix)):
                # Mostly there are files in it.
                with suppress(OSError):
                    session.rmdir()

    def check(self) -> None:
        """Whoever receives a file writes it into the same directory first."""

    def _is_ours(self, session: Path) -> bool:
        return is_id(session.name) and session.parent.name == session.name[:2]


def _within(directory: Path) -> list[Path]:
    """It may be deleted meanwhile, and be no directory."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return list(directory.iterdir())
    return []


def _is_older(path: Path, seconds: float) -> bool:
    """It may be deleted meanwhile as well."""
    with suppress(FileNotFoundError):
        return path.is_file() and path.stat().st_mtime < seconds
    return False


def _move(source: Path, path: Path) -> None:
    """Its directory may be swept just before the file is in it."""
    for _ in range(MOVES):
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            source.replace(path)
            return
    source.replace(path)
