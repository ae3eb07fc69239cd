"""How often the kernel has killed one of the container's processes for want of memory."""

from __future__ import annotations

import os
from contextlib import suppress

# Version 2 of cgroups, then version 1.
COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


def oom_kills() -> int:
    for path in COUNTERS:
        with suppress(OSError):
            return _count(path)
    return 0


def _count(path: str) -> int:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for line in os.read(file, 4096).splitlines():
            key, _, value = line.partition(b" ")
            if key == b"oom_kill":
                return int(value)
        return 0
    finally:
        os.close(file)
