"""A container made as good as new, for another session of the same owner.

Runs as the sandbox's user only, and only while no program does.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path

from .caches import copy_caches
from .layout import Layout
from .removing import empty

IPC_RMID = 0

_libc = ctypes.CDLL(None, use_errno=True)


def reset(layout: Layout) -> None:
    """Nothing that a program could write to keeps anything: the root of the container is
    read-only, so these are all the places."""
    empty(layout.workspace, 0o755)
    empty(layout.temporary, 0o1777)
    empty(layout.shared_memory, 0o1777)
    remove_semaphores(layout)
    copy_caches(layout)


def remove_semaphores(layout: Layout) -> None:
    """They outlive the processes. Shared memory does not, here, and queues cannot be made."""
    listed = ""
    # Not every runtime has the list.
    with suppress(FileNotFoundError):
        listed = Path(layout.semaphores).read_text()
    for line in listed.splitlines()[1:]:
        identifier = int(line.split()[1])
        if _libc.semctl(identifier, 0, IPC_RMID):
            raise OSError(ctypes.get_errno(), "a semaphore cannot be removed")
