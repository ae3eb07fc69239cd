"""The store as a directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sandbox.errors import SandboxFileNotFound
from sandbox.store.backends import reporting

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

    def kept_before(self, seconds: float) -> Iterator[str]:
        for session in self._sessions():
            # It, or a file of it, may be deleted meanwhile.
            with suppress(FileNotFoundError):
                for path in list(session.iterdir()):
                    with suppress(FileNotFoundError):
                        if path.is_file() and path.stat().st_mtime < seconds:
                            yield str(path.relative_to(self.root))

    def sweep_directories(self) -> None:
        """Of sessions without files: all were deleted one by one, or an upload failed after the
        directory had been made. Nothing else would ever come back to them."""
        for session in self._sessions():
            # Mostly there are files in it.
            with suppress(OSError):
                session.rmdir()

    def _sessions(self) -> Iterator[Path]:
        with suppress(FileNotFoundError):
            for prefix in list(self.root.iterdir()):
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
