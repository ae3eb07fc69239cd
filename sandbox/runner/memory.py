"""How often the kernel has killed one of the container's processes for want of memory."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache

# Version 2 of cgroups, then version 1.
COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


def oom_kills() -> int:
    counters = _open_counters()
    if counters is not None:
        for line in os.pread(counters, 4096, 0).splitlines():
            key, _, value = line.partition(b" ")
            if key == b"oom_kill":
                return int(value)
    return 0


@cache
def _open_counters() -> int | None:
    """Kept open: it is looked at before and after each run."""
    for path in COUNTERS:
        with suppress(OSError):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return None
