"""Which of the directories that programs can write to have no room left."""

from __future__ import annotations

import os

from .layout import Layout


def full(layout: Layout) -> list[str]:
    """As `workspace_bytes` or `tmp_inodes`. Asks the mounts themselves: nothing below them, which
    programs arrange as they like, is looked at."""
    mounts = {
        "workspace": layout.workspace,
        "tmp": layout.temporary,
        "shm": layout.shared_memory,
    }
    found = []
    for name, path in mounts.items():
        status = os.statvfs(path)
        # Where a total is 0, there is no limit.
        if status.f_blocks and not status.f_bavail:
            found.append(f"{name}_bytes")
        if status.f_files and not status.f_favail:
            found.append(f"{name}_inodes")
    return found
