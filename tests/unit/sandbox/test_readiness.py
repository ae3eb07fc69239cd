"""Which part fails is told by its name, whoever asks and however often."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from django.utils import timezone
from pytest_django import Settings

from audit.models import Report
from sandbox import readiness
from sandbox.engines.base import ImageInfo
from sandbox.parts import FINE, OK, Part
from sandbox.readiness import NO_ANSWER, Readying
from tests.fakes.engine import FakeEngine

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def reports(settings: Settings, fake: FakeEngine) -> None:
    """Of a keeper that is well."""
    settings.HEALTH_RUN_SECONDS = 60
    Report.say(Report.Name.KEEPER, {"part": "keeper", "word": "ok"})
    Report.say(Report.Name.CANARY, {"part": "run", "word": "ok"})


def failing() -> dict[str, str]:
    found = Readying().check()
    bad = {part.value: word for part, word in found.parts.items() if word not in FINE}
    assert found.is_ready == (not bad)
    return bad


def test_all_parts_are_well() -> None:
    assert Readying().check().parts == dict.fromkeys(Part, OK)


def test_an_engine_that_is_down(fake: FakeEngine) -> None:
    fake.down = True
    assert failing() == {"engine": "failing", "image": "unknown"}
    fake.down = False
    assert failing() == {}


def test_a_store_that_cannot_be_written(settings: Settings, tmp_path: Path) -> None:
    settings.SANDBOX_STORE_DIR = tmp_path / "file"
    settings.SANDBOX_STORE_DIR.touch()
    assert failing() == {"store": "failing"}


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_descriptors_that_are_nearly_used_up(few_descriptors: None) -> None:
    assert failing() == {"descriptors": "used up"}


@pytest.mark.parametrize("seconds", [-60, 60])
def test_a_clock_that_is_not_the_databases(seconds: int) -> None:
    with time_machine.travel(timezone.now() + timedelta(seconds=seconds), tick=True):
        assert failing() == {"clock": "wrong"}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (Report.Name.CANARY, {"part": "run", "word": "wrong"}, {"run": "wrong"}),
        (Report.Name.CANARY, {"part": "clock", "word": "wrong"}, {"clock": "wrong"}),
        (Report.Name.CANARY, {"part": "run", "word": "busy"}, {}),
        (Report.Name.KEEPER, {"part": "keeper", "word": "failing"}, {"keeper": "failing"}),
        (Report.Name.KEEPER, {"part": "run", "word": "failing"}, {"run": "failing"}),
        (Report.Name.KEEPER, {"part": "image", "word": "outdated"}, {"image": "outdated"}),
    ],
)
def test_what_the_keeper_has_found(
    name: Report.Name, content: dict[str, str], expected: dict[str, str]
) -> None:
    Report.say(name, content)
    assert failing() == expected


def test_a_keeper_that_has_gone() -> None:
    old = timezone.now() - timedelta(hours=1)
    Report.objects.update(at=old)
    assert failing() == {"keeper": "away", "run": "too old"}


def test_a_keeper_that_never_was() -> None:
    Report.objects.all().delete()
    assert failing() == {"keeper": "away", "run": "none yet"}


def test_without_runs_of_its_own_the_keeper_may_be_away(settings: Settings) -> None:
    settings.HEALTH_RUN_SECONDS = 0
    Report.objects.all().delete()
    found = Readying().check()
    assert found.is_ready
    assert not found.parts.keys() & {Part.KEEPER, Part.RUN}


def test_an_engine_that_hangs_fails_and_is_not_asked_again(
    fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = threading.Event()
    asked: list[str] = []
    image = fake.image

    def hang(name: str) -> ImageInfo | None:
        asked.append(name)
        answer.wait(60)
        return image(name)

    monkeypatch.setattr(readiness, "PART_SECONDS", 0.2)
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 0)
    monkeypatch.setattr(fake, "image", hang)
    readying = Readying()
    try:
        for _ in range(3):
            parts = readying.check().parts
            assert (parts[Part.ENGINE], parts[Part.IMAGE]) == (NO_ANSWER, NO_ANSWER)
        assert len(asked) == 1
    finally:
        answer.set()
    deadline = time.monotonic() + 60
    while readying.check().parts[Part.ENGINE] != OK:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_storm_of_probes_asks_once(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    image = fake.image

    def ask(name: str) -> ImageInfo | None:
        asked.append(name)
        return image(name)

    monkeypatch.setattr(readiness, "FRESH_SECONDS", 3600)
    monkeypatch.setattr(fake, "image", ask)
    readying = Readying()
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: readying.check(), range(200)))
    assert len(asked) == 1
    assert all(answer.is_ready for answer in answers)
