"""Where things are in the container."""

from __future__ import annotations

from typing import NamedTuple

PATH = "/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Layout(NamedTuple):
    workspace: str = "/mnt/data"
    # Programs can read it but not write to it.
    code: str = "/run/code"
    temporary: str = "/tmp"
    shared_memory: str = "/dev/shm"
    # Where the kernel lists the semaphores of System V.
    semaphores: str = "/proc/sysvipc/sem"
    # Copied to the temporary directory's .cache when the container starts.
    caches: str = "/opt/sandbox/cache"
    # passwd and group of the image; in /etc are links to where the container's own are.
    users: str = "/opt/sandbox/users"
    path: str = PATH
