from __future__ import annotations

import mmap
import os
from pathlib import Path

from bench.idle import charged_mb, figures, file_kib

PARENT = """\
55d0-55e0 r-xp 00000000 00:2d 42                         /lib/libc.so
Rss:                 800 kB
Anonymous:             0 kB
55e0-55f0 rw-p 00010000 00:2d 42                         /lib/libc.so
Rss:                  12 kB
Anonymous:             8 kB
7f00-7f10 rw-p 00000000 00:00 0                          [heap]
Rss:                5000 kB
Anonymous:          5000 kB
"""
CHILD = """\
55d0-55e0 r-xp 00000000 00:2d 42                         /lib/libc.so
Rss:                 900 kB
Anonymous:             0 kB
66d0-66e0 r-xp 00000000 00:2d 43                         /lib/libm.so
Rss:                 100 kB
Anonymous:             0 kB
"""


def test_a_part_of_a_file_counts_once_and_without_the_pages_that_were_changed() -> None:
    assert file_kib([PARENT]) == 800 + 4
    assert file_kib([PARENT, CHILD]) == 900 + 4 + 100


def test_a_file_in_memory_is_found_in_what_this_kernel_tells(tmp_path: Path) -> None:
    size = 8 * 1024 * 1024
    path = tmp_path / "mapped"
    path.write_bytes(os.urandom(size))
    before = file_kib([Path("/proc/self/smaps").read_text()])
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert sum(mapped[::4096]) > 0
        after = file_kib([Path("/proc/self/smaps").read_text()])
    assert after - before >= size / 1024 * 0.9


def test_this_kernel_tells_the_proportional_size() -> None:
    found = figures(Path("/proc/self/smaps_rollup").read_text())
    assert found["Pss"] >= found["Pss_Anon"] > 0


def test_without_a_memory_cgroup_nothing_is_claimed(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("4:memory:/no/such/group\n0::/no/such/group\n")
    assert charged_mb(tmp_path) is None
