"""What programs have left behind, taken away: after a run what only makes sense between processes,
and for another session of the same owner everything.

Runs as the sandbox's user only, and only while no program does.
"""

from __future__ import annotations

import ctypes
import os
import stat
from contextlib import suppress

from .caches import copy_caches
from .layout import Layout
from .removing import empty

IPC_RMID = 0
SHARED_MEMORY_MODE = 0o1777

_libc = ctypes.CDLL(None, use_errno=True)


def reset(layout: Layout) -> None:
    """Nothing that a program could write to keeps anything: the root of the container is
    read-only, so these are all the places."""
    empty(layout.workspace, 0o755)
    empty(layout.temporary, 0o1777)
    empty(layout.shared_memory, SHARED_MEMORY_MODE)
    remove_semaphores(layout)
    copy_caches(layout)


def end_run(layout: Layout) -> None:
    """Of shared memory and semaphores the next run finds none: nobody is left who shares them."""
    # The mode comes first: a program may have closed the directory, to its own user as well.
    mode = stat.S_IMODE(os.stat(layout.shared_memory).st_mode)
    if mode != SHARED_MEMORY_MODE or os.listdir(layout.shared_memory):
        empty(layout.shared_memory, SHARED_MEMORY_MODE)
    remove_semaphores(layout)


def remove_semaphores(layout: Layout) -> None:
    """They outlive the processes. Shared memory does not, here, and queues cannot be made."""
    listed = ""
    # Where there is no list, there are none: see `refusing`.
    with suppress(FileNotFoundError), open(layout.semaphores) as file:
        listed = file.read()
    for line in listed.splitlines()[1:]:
        identifier = int(line.split()[1])
        if _libc.semctl(identifier, 0, IPC_RMID):
            raise OSError(ctypes.get_errno(), "a semaphore cannot be removed")
