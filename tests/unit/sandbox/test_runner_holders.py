"""The zygote keeps account of its programs' holders; in their place, processes that only wait."""

from __future__ import annotations

import mmap
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from sandbox.runner import holders as holding
from sandbox.runner.holders import HOLDER, LARGE_BYTES, MOST, ROOM_BYTES, Holders

OWN_BYTES = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
SMALL_BYTES = OWN_BYTES
# What else is tested in this process may have made it larger.
HUGE_BYTES = OWN_BYTES + LARGE_BYTES + 2**40
LIMIT_BYTES = 2 * ROOM_BYTES


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else is going on here."""
    monkeypatch.setattr(holding, "memory_used_bytes", lambda: 0)


@pytest.fixture
def process() -> Iterator[Callable[[], int]]:
    """Another one at each call."""
    made: list[int] = []

    def make() -> int:
        pid = os.fork()
        if pid == 0:
            while True:
                signal.pause()
        made.append(pid)
        return pid

    yield make
    for pid in made:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def became(holders: Holders, program: int, holder: int) -> None:
    zygotes, spares = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with zygotes, spares:
        spares.send(HOLDER.pack(holder))
        holders.spare_became(program, zygotes)


def is_killed(pid: int) -> bool:
    """Waits for it where it is."""
    return os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


def lives(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG) == (0, 0)


def test_a_holder_goes_some_time_after_its_program(process: Callable[[], int]) -> None:
    holders, program, holder = Holders(), process(), process()
    became(holders, program, holder)
    holders.end_due()
    assert lives(holder)
    holders.program_ended(program, SMALL_BYTES)
    assert lives(holder)
    holders.end_due()
    assert is_killed(holder)


def test_after_a_large_program_the_memory_is_free_at_once(process: Callable[[], int]) -> None:
    holders, program, holder = Holders(), process(), process()
    became(holders, program, holder)
    holders.program_ended(program, HUGE_BYTES)
    with pytest.raises(ChildProcessError):
        os.waitpid(holder, 0)


def test_so_it_is_if_others_can_see_it(process: Callable[[], int]) -> None:
    with mmap.mmap(-1, 4096) as shared:
        shared[:1] = b"x"
        holders, program = Holders(), process()
        # A forked process has it in its own memory once it has touched it.
        reader = os.fork()
        if reader == 0:
            shared[:1] = b"y"
            while True:
                signal.pause()
        while shared[:1] != b"y":
            pass
        became(holders, program, reader)
        holders.program_ended(program, SMALL_BYTES)
        with pytest.raises(ChildProcessError):
            os.waitpid(reader, 0)


def test_a_run_begins_when_those_that_were_killed_are_gone(process: Callable[[], int]) -> None:
    holders, program, holder = Holders(), process(), process()
    became(holders, program, holder)
    holders.program_ended(program, SMALL_BYTES)
    holders.end_due()
    holders.await_killed()
    with pytest.raises(ChildProcessError):
        os.waitpid(holder, 0)
    # Once more, and of one that was reaped otherwise.
    became(holders, program, other := process())
    holders.program_ended(program, SMALL_BYTES)
    holders.end_due()
    assert is_killed(other)
    holders.has_ended(other)
    holders.await_killed()


def test_a_program_that_goes_on_has_none(
    process: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "HELD_SECONDS", 0.2)
    holders, program, holder = Holders(), process(), process()
    assert holders.held_until is None
    began = time.monotonic()
    became(holders, program, holder)
    assert holders.held_until == pytest.approx(began + 0.2, abs=0.1)
    holders.let_go()
    assert lives(holder)
    time.sleep(0.2)
    holders.let_go()
    assert holders.held_until is None
    holders.program_ended(program, SMALL_BYTES)
    # What it held is free before anybody hears of the end.
    with pytest.raises(ChildProcessError):
        os.waitpid(holder, 0)
    assert not holders.due


@pytest.mark.parametrize("used", [LIMIT_BYTES - ROOM_BYTES, LIMIT_BYTES - ROOM_BYTES + 1])
def test_where_memory_is_short_no_program_has_one(
    process: Callable[[], int], monkeypatch: pytest.MonkeyPatch, used: int
) -> None:
    monkeypatch.setattr(holding, "memory_limit_bytes", lambda: LIMIT_BYTES)
    monkeypatch.setattr(holding, "memory_used_bytes", lambda: used)
    holders, program, holder = Holders(), process(), process()
    became(holders, program, holder)
    if used + ROOM_BYTES > LIMIT_BYTES:
        assert is_killed(holder)
        assert holders.held_until is None
    else:
        assert holders.held_until is not None


def test_only_some_programs_have_one_as_it_is_a_process_too(process: Callable[[], int]) -> None:
    holders = Holders()
    programs = [process() for _ in range(MOST + 1)]
    mine = [process() for _ in programs]
    for program, holder in zip(programs, mine, strict=True):
        became(holders, program, holder)
    assert is_killed(mine[-1])
    assert all(lives(holder) for holder in mine[:-1])


def test_one_that_dies_with_its_program_is_no_program(process: Callable[[], int]) -> None:
    holders, program, holder = Holders(), process(), process()
    became(holders, program, holder)
    holders.has_ended(holder)
    holders.program_ended(program, SMALL_BYTES)
    holders.end_due()
    assert lives(holder), "the number may be another process's by now"


def test_that_of_a_spare_that_died_goes_as_well(process: Callable[[], int]) -> None:
    holders, holder = Holders(), process()
    zygotes, spares = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with zygotes, spares:
        # Before it could say anything.
        holders.spare_died(zygotes)
        spares.send(HOLDER.pack(holder))
        # And left something unread, which is told first.
        os.write(zygotes.fileno(), b"work")
        spares.close()
        holders.spare_died(zygotes)
    assert is_killed(holder)


def test_a_spare_that_dies_when_it_is_needed_has_none() -> None:
    holders = Holders()
    zygotes, spares = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    spares.close()
    with zygotes:
        holders.spare_became(1, zygotes)
    holders.program_ended(1, SMALL_BYTES)
    holders.end_due()


def test_where_one_was_not_confined_no_more_are_wanted() -> None:
    holders = Holders()
    assert spare(holders, 1234) == (1234, 0)
    # This spare must not become a program.
    assert spare(holders, -1) == (-1, 126)
    became(holders, 1, -1)
    assert spare(holders, 1234) == (0, 0)


def spare(holders: Holders, holder: int) -> tuple[int, int]:
    """Which holder it tells, if it can have this one, and its exit status after that."""
    zygotes, spares = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with zygotes, spares:
        pid = os.fork()
        if pid == 0:
            try:
                holders.have_one(lambda: holder, spares)
            finally:
                os._exit(0)
        (told,) = HOLDER.unpack(zygotes.recv(HOLDER.size))
    return told, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
