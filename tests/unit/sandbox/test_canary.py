"""The keeper's own run: it tells what works from what does not, and leaves nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.utils import timezone
from pytest_django import Settings

from audit.models import Execution, Report, SandboxContainer, SandboxFile, SandboxSession
from keys.models import APIKey
from keys.models.api_key import CHECK
from keys.quotas import QUOTAS
from sandbox import canary, pool, store, store_keeper
from sandbox.errors import AtCapacity, ImageMissing, SandboxError, StoreUnavailable
from sandbox.parts import Part
from sandbox.services import Caller, RunRequest, execute
from tests.fakes.engine import FakeEngine

pytestmark = pytest.mark.django_db(transaction=True)


def left(store_dir: Path) -> list[object]:
    """Of rows, containers and bytes."""
    models = (Execution, SandboxSession, SandboxContainer, SandboxFile, APIKey)
    rows = [row for model in models for row in model._default_manager.all()]
    return [*rows, *(path for path in store_dir.rglob("*") if path.is_file())]


def test_a_service_that_works(fake: FakeEngine, store_dir: Path) -> None:
    verdict = canary.check()
    assert (verdict.part, verdict.word) == (Part.RUN, "ok")
    report = Report.objects.get(name=Report.Name.CANARY)
    assert (report.content["part"], report.content["word"]) == ("run", "ok")
    assert report.at > timezone.now() - timedelta(minutes=1)
    assert left(store_dir) == []
    assert fake.created
    assert fake.list() == []


@pytest.mark.parametrize(
    ("language", "program"),
    [
        ("PYTHON", "print(42)"),
        ("PYTHON", 'print(\'{{"answer": 1, "time": 0}}\')'),
        ("PYTHON", "raise SystemExit(1)"),
        ("BASH", "echo 17"),
        ("BASH", "exit 3"),
    ],
)
def test_programs_that_go_wrong(
    fake: FakeEngine,
    store_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    language: str,
    program: str,
) -> None:
    monkeypatch.setattr(canary, language, program)
    assert canary.check().word == "wrong"
    assert left(store_dir) == []


def test_a_file_that_is_not_there_again(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "PYTHON", canary.PYTHON.replace("answer.txt", "other.txt"))
    assert canary.check().word == "wrong"


def test_a_clock_of_a_container_that_is_wrong(
    fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = canary.PYTHON.replace("time.time()", "time.time() + 60")
    monkeypatch.setattr(canary, "PYTHON", ahead)
    verdict = canary.check()
    assert (verdict.part, verdict.word) == (Part.CLOCK, "wrong")
    assert 50 < verdict.skew_seconds <= 60


@pytest.mark.parametrize(
    ("error", "part", "word"),
    [
        (ImageMissing("gone"), Part.IMAGE, "missing"),
        (StoreUnavailable("full"), Part.STORE, "failing"),
        (SandboxError("odd"), Part.RUN, "failing"),
        (AtCapacity("All sandbox containers are busy"), Part.RUN, "busy"),
    ],
)
def test_what_fails_is_told_by_its_part(
    fake: FakeEngine,
    store_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: SandboxError,
    part: Part,
    word: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pool, "boot", fail)
    verdict = canary.check()
    assert (verdict.part, verdict.word) == (part, word)
    assert [row for row in left(store_dir) if not isinstance(row, SandboxContainer)] == []


def test_an_engine_that_is_down(fake: FakeEngine) -> None:
    fake.down = True
    assert canary.check().part == Part.ENGINE
    fake.down = False
    assert canary.check().word == "ok"


@pytest.mark.parametrize("clear", [store_keeper.tidy, lambda: call_command("reapsessions")])
def test_what_a_killed_check_has_left_is_cleared_away_later(
    fake: FakeEngine, store_dir: Path, settings: Settings, clear: Callable[[], None]
) -> None:
    settings.HEALTH_RUN_SECONDS = 0
    key = APIKey.objects.create(name="Health check", prefix=CHECK + "killed")
    execute(Caller(key=key), RunRequest(language="py", code="open('a', 'w').write('b')"))
    clear()
    assert Execution.objects.filter(key=key).exists()

    APIKey.objects.update(created_at=timezone.now() - timedelta(hours=1))
    clear()
    assert left(store_dir) == []


def test_a_store_that_is_down_is_told_whatever_is_left(
    fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> None:
        raise StoreUnavailable("down")

    execute(
        Caller(key=APIKey.objects.create(name="Health check", prefix=CHECK + "killed")),
        RunRequest(language="py", code="open('a', 'w').write('b')"),
    )
    APIKey.objects.update(created_at=timezone.now() - timedelta(hours=1))
    monkeypatch.setattr(store, "delete_session", fail)
    assert canary.check().part == Part.STORE
    assert Report.objects.get(name=Report.Name.CANARY).content["part"] == "store"


def test_the_servers_quotas_are_not_for_it(fake: FakeEngine, settings: Settings) -> None:
    for quota in QUOTAS:
        setattr(settings, quota.setting, 1)
    for _ in range(2):
        assert canary.check().word == "ok"


def test_others_are_left_alone(fake: FakeEngine, alice: Caller) -> None:
    outcome = execute(alice, RunRequest(language="py", code="open('a', 'w').write('b')"))
    canary.check()
    again = RunRequest(language="py", code="print(open('a').read())", session_id=outcome.session.pk)
    assert execute(alice, again).verdict.stdout == "b\n"


def test_one_that_is_given_up_says_nothing(fake: FakeEngine, store_dir: Path) -> None:
    canary.check(lambda: True)
    assert not Report.objects.exists()
    assert left(store_dir) == []
