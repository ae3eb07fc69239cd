"""What the keeper says of its passes, and when it runs its own program."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from audit.models import Report
from sandbox import canary, pulse
from sandbox.canary import Verdict
from sandbox.errors import ImageMissing
from sandbox.parts import Part
from sandbox.pulse import CanaryThread, Pulse

pytestmark = pytest.mark.django_db(transaction=True)


def said() -> tuple[str, str]:
    content = Report.objects.get(name=Report.Name.KEEPER).content
    return content["part"], content["word"]


def test_a_pass_that_fails_is_told_and_one_that_works_again() -> None:
    keeper = Pulse()
    keeper.begin()
    keeper.end()
    assert said() == ("keeper", "ok")
    keeper.end([OperationalError("away"), ImageMissing("gone"), RuntimeError("odd")])
    assert said() == ("image", "missing")
    keeper.end()
    assert said() == ("keeper", "ok")
    keeper.end([RuntimeError("odd")])
    assert said() == ("keeper", "failing")


def test_it_is_not_written_with_each_pass() -> None:
    keeper = Pulse()
    keeper.end()
    with CaptureQueriesContext(connection) as queries:
        keeper.end()
        keeper.end([OperationalError("away")])
    assert not queries


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> list[str]:
    """The words of the next checks; the last one stays."""
    settings.HEALTH_RUN_SECONDS = 1000
    words = ["failing", "failing", "ok"]

    def check(is_stopping: Callable[[], bool]) -> Verdict:
        return Verdict(Part.RUN, words.pop(0) if len(words) > 1 else words[0])

    monkeypatch.setattr(canary, "check", check)
    return words


def test_after_a_failure_it_runs_sooner(checks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "AGAIN_SECONDS", 0.01)
    thread = CanaryThread()
    deadline = time.monotonic() + 60
    # Until it has worked: then after half of the time.
    while thread._due < time.monotonic() + 400:
        assert time.monotonic() < deadline
        thread.start_if_due()
        time.sleep(0.001)
    thread.stop()
    assert checks == ["ok"]


def test_it_is_off_and_makes_no_thread(checks: list[str], settings: Settings) -> None:
    settings.HEALTH_RUN_SECONDS = 0
    before = threading.active_count()
    CanaryThread().start_if_due()
    assert threading.active_count() == before
    assert len(checks) == 3


def test_one_at_a_time_and_told_to_stop(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.HEALTH_RUN_SECONDS = 1000
    began: list[int] = []
    stopped = threading.Event()

    def check(is_stopping: Callable[[], bool]) -> Verdict:
        began.append(1)
        deadline = time.monotonic() + 60
        while not is_stopping() and time.monotonic() < deadline:
            time.sleep(0.001)
        stopped.set()
        return Verdict()

    monkeypatch.setattr(canary, "check", check)
    thread = CanaryThread()
    for _ in range(3):
        thread.start_if_due()
    thread.stop()
    assert stopped.is_set()
    assert len(began) == 1
