"""Ways through the workspace, which programs arrange as they like: no component is ever followed
as a link, and nothing is done by a path that was looked at before.

Runs as the sandbox's user only, and only while no program does.
"""

from __future__ import annotations

import errno
import os
import stat

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking, since a FIFO may be where a file was.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
OWNER_ALL = 0o700


def open_workspace(path: str) -> int:
    return open_directory(path, None)


def open_directory(name: str, parent: int | None) -> int:
    """Open a directory and make it usable to its owner, whatever its mode is."""
    try:
        directory = os.open(name, DIRECTORY, dir_fd=parent)
    except PermissionError:
        # It is a directory and no link, or the error would be another one.
        os.chmod(name, OWNER_ALL, dir_fd=parent)
        directory = os.open(name, DIRECTORY, dir_fd=parent)
    status = os.fstat(directory)
    # gVisor's kernel follows a link all the same, if that leads to a directory.
    if not os.path.samestat(status, os.stat(name, dir_fd=parent, follow_symlinks=False)):
        os.close(directory)
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)
    mode = stat.S_IMODE(status.st_mode)
    if mode & OWNER_ALL != OWNER_ALL:
        os.fchmod(directory, mode | OWNER_ALL)
    return directory


def open_parent(workspace: int, name: str) -> tuple[int, str]:
    """The directory that holds `name`, which the caller closes, and the last component."""
    *parents, last = name.split("/")
    directory = os.dup(workspace)
    for part in parents:
        try:
            below = open_directory(part, directory)
        finally:
            os.close(directory)
        directory = below
    return directory, last


def open_file(workspace: int, name: str) -> int:
    directory, last = open_parent(workspace, name)
    try:
        return os.open(last, FILE, dir_fd=directory)
    finally:
        os.close(directory)
