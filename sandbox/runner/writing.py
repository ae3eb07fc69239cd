"""Files that come into the workspace.

Runs as the sandbox's user only, and only while no program does.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress

from .directories import open_directory, open_workspace
from .names import is_safe_name
from .protocol import Control
from .removing import remove_tree

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_A_DIRECTORY = (errno.ENOTDIR, errno.ELOOP)


def put(path: str, files: list[Control], chunks: Iterator[bytes]) -> list[str]:
    """Write the files, whose bytes follow each other in `chunks`. Returns the names of those for
    which there was no room; their bytes are taken from `chunks` as well."""
    workspace = open_workspace(path)
    unwritten = []
    content = _Content(chunks)
    try:
        for file in files:
            name = file["name"]
            part = content.next(file["size"])
            if not is_safe_name(name):
                raise ValueError("a file's name is not safe")
            try:
                _write(workspace, name, file["mode"], part)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                unwritten.append(name)
                for _ in part:
                    pass
    finally:
        os.close(workspace)
    return unwritten


class _Content:
    """Chunks, divided anew where one file ends and the next begins."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def next(self, size: int) -> Iterator[bytes]:
        while size:
            chunk = self._rest or next(self._chunks)
            self._rest = chunk[size:]
            size -= min(size, len(chunk))
            yield chunk[: len(chunk) - len(self._rest)]


def _write(workspace: int, name: str, mode: int, content: Iterable[bytes]) -> None:
    directory, last = _make_parent(workspace, name)
    try:
        _clear(workspace, directory, last)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(last, flags, 0o600, dir_fd=directory)
        try:
            for chunk in content:
                view = memoryview(chunk)
                while view:
                    view = view[os.write(file, view) :]
            os.fchmod(file, mode)
        except OSError:
            os.unlink(last, dir_fd=directory)
            raise
        finally:
            os.close(file)
    finally:
        os.close(directory)


def _make_parent(workspace: int, name: str) -> tuple[int, str]:
    *parents, last = name.split("/")
    directory = os.dup(workspace)
    for part in parents:
        try:
            with suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=directory)
            try:
                below = open_directory(part, directory)
            except OSError as error:
                if error.errno not in NOT_A_DIRECTORY:
                    raise
                os.unlink(part, dir_fd=directory)
                os.mkdir(part, 0o755, dir_fd=directory)
                below = open_directory(part, directory)
        finally:
            os.close(directory)
        directory = below
    return directory, last


def _clear(workspace: int, directory: int, name: str) -> None:
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        remove_tree(workspace, directory, name)
    else:
        os.unlink(name, dir_fd=directory)
