"""Files that come into the workspace, and those that are taken away.

Runs as the sandbox's user only, and only while no program does.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import count

from .directories import open_directory, open_parent, open_workspace
from .names import is_safe_name
from .protocol import Control

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
        _remove_tree(workspace, directory, name)
    else:
        os.unlink(name, dir_fd=directory)


def _remove_tree(workspace: int, directory: int, name: str) -> None:
    """Remove a tree of any depth: each directory is first moved up to the workspace, so that
    neither the stack nor the open files grow with the depth that a program chose."""
    names = (f".removed-{number}" for number in count())
    doomed = [_move_up(workspace, directory, name, names)]
    while doomed:
        top = doomed.pop()
        below = open_directory(top, workspace)
        try:
            with os.scandir(below) as listing:
                entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing]
            for entry, is_directory in entries:
                if is_directory:
                    doomed.append(_move_up(workspace, below, entry, names))
                else:
                    os.unlink(entry, dir_fd=below)
        finally:
            os.close(below)
        os.rmdir(top, dir_fd=workspace)


def _move_up(workspace: int, directory: int, name: str, names: Iterator[str]) -> str:
    # A directory that its owner cannot write to cannot be moved to another parent either.
    os.close(open_directory(name, directory))
    for target in names:
        try:
            os.stat(target, dir_fd=workspace, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(name, target, src_dir_fd=directory, dst_dir_fd=workspace)
            return target
    raise AssertionError("count() does not end")


def remove(path: str, names: list[str]) -> None:
    """Remove files, and the directories that become empty by it."""
    workspace = open_workspace(path)
    try:
        for name in names:
            if not is_safe_name(name):
                raise ValueError("a file's name is not safe")
            # Whatever has taken the place of the file or of its directory is not this file.
            with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                _unlink(workspace, name)
                _remove_empty_parents(workspace, name)
    finally:
        os.close(workspace)


def _unlink(workspace: int, name: str) -> None:
    directory, last = open_parent(workspace, name)
    try:
        os.unlink(last, dir_fd=directory)
    finally:
        os.close(directory)


def _remove_empty_parents(workspace: int, name: str) -> None:
    while "/" in name:
        name = name.rpartition("/")[0]
        directory, last = open_parent(workspace, name)
        try:
            os.rmdir(last, dir_fd=directory)
        except OSError:
            return
        finally:
            os.close(directory)
