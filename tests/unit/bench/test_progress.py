from __future__ import annotations

import io

import pytest

from bench import progress
from bench.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_updates_replace_each_other_and_steps_stay() -> None:
    out, log = Terminal(), io.StringIO()
    shown = Progress(out, log)
    shown.say("first")
    shown.update("1 of 2")
    shown.update("2 of 2")
    shown.say("second")
    assert out.getvalue() == (
        "[00:00] first\n\r\033[K    1 of 2\r\033[K    2 of 2\r\033[K[00:00] second\n"
    )
    assert log.getvalue() == "[00:00] first\n[00:00] second\n"


def test_elsewhere_an_update_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    out, log = io.StringIO(), io.StringIO()
    shown = Progress(out, log)
    shown.update("too early")
    monkeypatch.setattr(progress, "LOG_SECONDS", -1)
    shown.update("due")
    assert out.getvalue() == log.getvalue() == "[00:00]   due\n"
