"""What is taken out of the workspace, of whatever depth, number and modes a program made it.

Runs as the sandbox's user only, and only while no program does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import count

from .directories import open_directory, open_parent, open_workspace
from .names import is_safe_name

# What the owner of a directory can leave on it. Others are the kernel's and the engine's.
OWN_ATTRIBUTES = ("user.", "system.posix_acl_")


class NotEmpty(Exception):
    """Something cannot be removed."""


def empty(path: str, mode: int) -> None:
    """Remove all that is in the directory and on it, and give it back the mode it began with."""
    top = open_workspace(path)
    try:
        doomed = _unlink_all(top)
        _remove_all(top, doomed, _free_names())
        for name in os.listxattr(top):
            if name.startswith(OWN_ATTRIBUTES):
                os.removexattr(top, name)
        os.fchmod(top, mode)
        if os.listdir(top):
            raise NotEmpty(path)
    finally:
        os.close(top)


def remove_tree(workspace: int, directory: int, name: str) -> None:
    names = _free_names()
    _remove_all(workspace, [_move_up(workspace, directory, name, names)], names)


def _free_names() -> Iterator[str]:
    return (f".removed-{number}" for number in count())


def _remove_all(workspace: int, doomed: list[str], names: Iterator[str]) -> None:
    """Remove directories with all that is below them: each one there is first moved up to the
    workspace, so that neither the stack nor the open files grow with the depth of the tree."""
    while doomed:
        top = doomed.pop()
        below = open_directory(top, workspace)
        try:
            for entry in _unlink_all(below):
                doomed.append(_move_up(workspace, below, entry, names))
        finally:
            os.close(below)
        os.rmdir(top, dir_fd=workspace)


def _unlink_all(directory: int) -> list[str]:
    """Remove all but the directories in it, whose names are returned."""
    with os.scandir(directory) as listing:
        entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing]
    for name, is_directory in entries:
        if not is_directory:
            os.unlink(name, dir_fd=directory)
    return [name for name, is_directory in entries if is_directory]


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
