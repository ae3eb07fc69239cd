from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.runner import preloaded
from sandbox.runner.layout import Layout
from sandbox.runner.preloaded import FIRST_PAUSE, LONGEST_PAUSE, NEWS, READY, Zygote


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(preloaded, "time", clock)
    return clock


def lives(zygote: Zygote, clock: Clock, seconds: float) -> float:
    """How long after its death there is another one."""
    zygote.pid, zygote._started_at = 1, clock.now
    assert zygote.restart_in is None
    clock.now += seconds
    assert zygote.has_died() == []
    pause = zygote.restart_in
    assert pause is not None
    clock.now += pause
    assert zygote.restart_in == 0
    return pause


def test_one_that_dies_young_is_waited_with_ever_longer(clock: Clock, tmp_path: Path) -> None:
    zygote = Zygote(Layout(code=str(tmp_path)))
    pauses = [lives(zygote, clock, 0) for _ in range(8)]
    assert pauses == [2, 4, 8, 16, 32, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    # Counted from its start.
    assert lives(zygote, clock, 50) == LONGEST_PAUSE - 50


def test_one_that_has_lived_long_is_replaced_at_once(clock: Clock, tmp_path: Path) -> None:
    zygote = Zygote(Layout(code=str(tmp_path)))
    for _ in range(5):
        lives(zygote, clock, 0)
    assert lives(zygote, clock, LONGEST_PAUSE + 1) == 0
    assert lives(zygote, clock, 0) == 2 * FIRST_PAUSE


def test_a_program_whose_end_it_took_along_was_killed(clock: Clock, tmp_path: Path) -> None:
    zygote = Zygote(Layout(code=str(tmp_path)))
    zygote.pid = 1
    # No child of ours, as one that the zygote has reaped and not told of.
    zygote._programs.add(2**22 + 1)
    assert zygote.busy
    (lost,) = zygote.has_died()
    assert (lost.pid, lost.status) == (2**22 + 1, 9)
    assert not zygote.busy


@pytest.fixture
def loading(tmp_path: Path) -> Iterator[tuple[Zygote, socket.socket]]:
    """One that has not said yet that it is ready, and its end of what it says that through."""
    zygote = Zygote(Layout(code=str(tmp_path)))
    zygote._control, its_own = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    zygote._control.setblocking(False)
    with subprocess.Popen(["/bin/sleep", "60"]) as process, zygote._control, its_own:
        zygote.pid = process.pid
        try:
            yield zygote, its_own
        finally:
            process.kill()


def test_one_that_is_ready_is_not_kept_stopped_for_a_program(
    loading: tuple[Zygote, socket.socket],
) -> None:
    """Whoever connects to it would wait for as long as that program runs."""
    zygote, its_own = loading
    assert zygote.pid is not None
    zygote.pause()
    assert changes(zygote.pid, os.WSTOPPED)
    zygote.news()
    assert not changes(zygote.pid, os.WCONTINUED | os.WNOHANG)
    its_own.send(NEWS.pack(bytes([READY]), 0, 0, 0.0, 0))
    zygote.news()
    assert changes(zygote.pid, os.WCONTINUED | os.WNOHANG)
    zygote.pause()
    assert zygote._paused_at is None


def test_one_may_have_died_since_it_was_ready(loading: tuple[Zygote, socket.socket]) -> None:
    zygote, its_own = loading
    assert zygote.pid is not None
    zygote.pause()
    its_own.send(NEWS.pack(bytes([READY]), 0, 0, 0.0, 0))
    os.kill(zygote.pid, signal.SIGKILL)
    os.waitpid(zygote.pid, 0)
    assert zygote.news() == []
    assert zygote.has_died() == []


def changes(pid: int, options: int) -> bool:
    """Whether this process, which lives on, is stopped or goes on, which is told once."""
    return os.waitid(os.P_PID, pid, options) is not None
