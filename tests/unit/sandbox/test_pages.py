"""image/python/pages.c: a scout tells which pages it has touched, another process gets those."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from pathlib import Path

import pytest

from tests.native import built, in_child

PAGE = 4096
PAGES = 64
RANGE = struct.Struct("=QQq")
FOR_READING, FOR_WRITING = 22, 23
PRESENT, MAPPED_ONCE = 1 << 63, 1 << 56
TOUCHED = {3, 4, 5, 20, 63}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return built("pages.c", tmp_path_factory.mktemp("pages"))


class Memory:
    """Some pages with something in each, alone between pages that are not there."""

    def __init__(self) -> None:
        self.map = mmap.mmap(-1, (PAGES + 2) * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(self.map)) + PAGE
        for number in range(PAGES):
            self.write(number, b"before")

    def write(self, number: int, content: bytes) -> None:
        self.map[(number + 1) * PAGE : (number + 1) * PAGE + len(content)] = content

    def read(self, number: int) -> bytes:
        return self.map[(number + 1) * PAGE : (number + 1) * PAGE + 6]

    def own(self) -> set[int]:
        """Those that are this process's alone."""
        with Path("/proc/self/pagemap").open("rb") as file:
            file.seek(self.start // PAGE * 8)
            entries = struct.unpack(f"={PAGES}Q", file.read(PAGES * 8))
        return {
            number
            for number, entry in enumerate(entries)
            if entry & PRESENT and entry & MAPPED_ONCE
        }

    def numbers(self, ranges: bytes, advice: int) -> set[int]:
        """The pages of this memory among those in `ranges`."""
        found = {
            (address - self.start) // PAGE
            for start, size, kind in RANGE.iter_unpack(ranges)
            if kind == advice
            for address in range(start, start + size, PAGE)
        }
        return found & set(range(PAGES))


@pytest.fixture
def memory() -> Memory:
    return Memory()


def scout(pages: ctypes.CDLL, memory: Memory) -> bytes:
    def touch_and_tell(tell: int) -> None:
        for number in TOUCHED:
            memory.write(number, b"after")
        memory.read(40)
        pages.report_pages(tell)

    return in_child(touch_and_tell)


def test_a_scout_tells_what_it_has_written_to_and_which_code_it_has_used(
    pages: ctypes.CDLL, memory: Memory
) -> None:
    ranges = scout(pages, memory)
    assert memory.numbers(ranges, FOR_WRITING) == TOUCHED
    assert memory.numbers(ranges, FOR_READING) == set()
    function = ctypes.cast(pages.report_pages, ctypes.c_void_p).value
    assert function
    assert any(
        start <= function < start + size and kind == FOR_READING
        for start, size, kind in RANGE.iter_unpack(ranges)
    )


def test_another_process_gets_the_same_pages_with_what_was_in_them(
    pages: ctypes.CDLL, memory: Memory
) -> None:
    ranges = scout(pages, memory)

    def populate_and_tell(tell: int) -> None:
        assert memory.own() == set()
        pages.populate_pages(ranges, ctypes.c_size_t(len(ranges)), -1)
        assert memory.own() == TOUCHED
        assert {memory.read(number) for number in range(PAGES)} == {b"before"}
        os.write(tell, b"done")

    assert in_child(populate_and_tell) == b"done"


def test_nothing_is_made_ready_for_who_is_waited_for(pages: ctypes.CDLL, memory: Memory) -> None:
    ranges = scout(pages, memory)

    def populate_and_tell(tell: int) -> None:
        heard, work = os.pipe()
        os.write(work, b"work")
        pages.populate_pages(ranges, ctypes.c_size_t(len(ranges)), heard)
        assert memory.own() == set()
        assert os.read(heard, 4) == b"work"
        pages.populate_pages(ranges, ctypes.c_size_t(len(ranges)), heard)
        assert memory.own() == TOUCHED
        os.write(tell, b"done")

    assert in_child(populate_and_tell) == b"done"


def test_ranges_of_nothing_and_half_a_range_do_no_harm(pages: ctypes.CDLL, memory: Memory) -> None:
    nothing = RANGE.pack(PAGE, PAGE, FOR_WRITING) + RANGE.pack(memory.start, PAGE, 12_345)
    half = RANGE.pack(memory.start + 7 * PAGE, PAGE, FOR_WRITING)
    text = b"a warning instead of any range, and another one"

    def populate_and_tell(tell: int) -> None:
        for ranges, expected in (
            (b"", set()),
            (text, set()),
            (nothing + half[:-1], set()),
            (half, {7}),
        ):
            pages.populate_pages(ranges, ctypes.c_size_t(len(ranges)), -1)
            assert memory.own() == expected
        os.write(tell, b"done")

    assert in_child(populate_and_tell) == b"done"


def test_a_scout_that_touches_more_than_pays_is_cut_short(pages: ctypes.CDLL) -> None:
    size = 10_000 * PAGE
    large = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for position in range(0, size, PAGE):
        large[position] = 1

    def touch_and_tell(tell: int) -> None:
        # Every other one, so that each is a range of its own.
        for position in range(0, size, 2 * PAGE):
            large[position] = 2
        for position in range(PAGE, size, 2 * PAGE):
            large[position] = 2
        pages.report_pages(tell)

    told = sum(size for _, size, _ in RANGE.iter_unpack(in_child(touch_and_tell)))
    assert told <= 8192 * PAGE
