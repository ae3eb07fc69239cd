"""Work in parts: what fails does not keep the rest from being done."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.utils import timezone
from pytest_django import Settings

from audit import chain, retention, search
from audit.models import (
    Execution,
    LiveRun,
    Report,
    SandboxContainer,
    SandboxFile,
    SandboxSession,
)
from audit.statistics import rolling
from sandbox import store, store_keeper
from sandbox.errors import EngineUnavailable, StoreUnavailable
from sandbox.management.commands.keeper import Command, Stop
from sandbox.passes import PassThread, Troubles, do_each, failures_of, within
from sandbox.pulse import CanaryThread
from sandbox.rounds import Rounds
from sandbox.services import Caller
from sandbox.store_keeper import StoreKeeper, Sweep
from sandbox.upkeep import Upkeep
from tests.fakes.engine import FakeEngine
from tests.service import wait_until
from tests.unit.sandbox.helpers import run

pytestmark = pytest.mark.django_db

WRITE = "open('a.txt', 'w').write('one')"


def failing(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def raised(*parts: Callable[[], object]) -> list[Exception]:
    return failures_of(lambda: do_each(*parts))


def test_all_parts_are_done_and_all_failures_told() -> None:
    done: list[str] = []
    first, second = StoreUnavailable("down"), EngineUnavailable("down")
    inner = [failing(first), lambda: done.append("inner")]
    found = raised(lambda: do_each(*inner), failing(second), lambda: done.append("last"))
    assert found == [first, second]
    assert done == ["inner", "last"]


@pytest.mark.django_db(transaction=True)
def test_without_the_database_the_rest_is_left_for_the_next_pass() -> None:
    done: list[str] = []

    def cut() -> None:
        with suppress(OperationalError), connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    [error] = raised(cut, lambda: done.append("never"))
    assert isinstance(error, OperationalError)
    assert done == []
    assert raised(lambda: Execution.objects.exists(), lambda: done.append("again")) == []
    assert done == ["again"]


def test_the_first_is_done_however_little_time_there_is() -> None:
    assert list(within(-1, "abc")) == ["a"]
    assert list(within(60, "abc")) == ["a", "b", "c"]


def test_what_fails_is_logged_when_it_begins_to(caplog: pytest.LogCaptureFixture) -> None:
    troubles = Troubles("here")
    with caplog.at_level(logging.WARNING, "sandbox.passes"):
        for failures in ([StoreUnavailable("down")], [StoreUnavailable("down"), ValueError("odd")]):
            troubles.note(failures)
        assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
        troubles.note([])
        troubles.note([StoreUnavailable("down")])
    assert len(caplog.records) == 3


def end_all() -> None:
    SandboxSession.objects.update(expires_at=timezone.now())


def test_without_the_store_all_is_done_that_needs_none(
    alice: Caller, fake: FakeEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SANDBOX_POOL_SIZE = 1
    run(alice, WRITE)
    end_all()
    with monkeypatch.context() as patched:
        for name in ("delete_session", "delete_file", "kept_long_ago"):
            patched.setattr(store, name, failing(StoreUnavailable("down")))
        assert failures_of(Rounds().pass_once) == []
        found = failures_of(StoreKeeper().pass_once)
        assert [type(error) for error in found] == [StoreUnavailable] * 2
    assert SandboxContainer.objects.warm().count() == len(fake.list()) == 1
    assert SandboxFile.objects.filter(deleted_at=None).exists()
    assert failures_of(StoreKeeper().pass_once) == []
    assert not SandboxFile.objects.filter(deleted_at=None).exists()


def test_the_pool_is_filled_whatever_fails(
    fake: FakeEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SANDBOX_POOL_SIZE = 1
    monkeypatch.setattr("sandbox.quotas.sweep", failing(ValueError("odd")))
    monkeypatch.setattr("sandbox.census.Census.end_leases_of_dead", failing(ValueError("odder")))
    assert [str(error) for error in failures_of(Rounds().pass_once)] == ["odder", "odd"]
    assert SandboxContainer.objects.warm().count() == 1


def test_the_loop_tells_what_fails_beside_it(fake: FakeEngine, settings: Settings) -> None:
    settings.SANDBOX_POOL_SIZE = 1

    class Last(CanaryThread):
        def start_if_due(self) -> None:
            raise Stop

    beside = PassThread("file store", failing(StoreUnavailable("down")), every_seconds=3600)
    beside.start()
    wait_until(lambda: bool(beside.failures))
    with pytest.raises(Stop):
        Command()._loop(Last(), beside)
    beside.stop()
    said = Report.objects.get(name=Report.Name.KEEPER).content
    assert (said["part"], said["word"]) == ("store", "failing")
    assert SandboxContainer.objects.warm().count() == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_in_a_finalizer_stops_it_as_well(fake: FakeEngine, settings: Settings) -> None:
    settings.SANDBOX_POOL_SIZE = 0
    command = Command()

    class Finalized:
        def __del__(self) -> None:
            command._stop(signal.SIGTERM, None)

    class Last(CanaryThread):
        def start_if_due(self) -> None:
            assert not command._is_stopping
            Finalized()

    beside = PassThread("file store", lambda: None, every_seconds=3600)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    began = time.monotonic()
    try:
        with pytest.raises(Stop):
            command._loop(Last(), beside)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert time.monotonic() - began < 5


def test_many_files_are_deleted_in_as_many_passes_as_it_takes(alice: Caller) -> None:
    for _ in range(3):
        run(alice, WRITE)
    end_all()
    SandboxSession.objects.update(ended_at=timezone.now())
    kept = SandboxFile.objects.filter(deleted_at=None)
    for left in (2, 1, 0):
        store_keeper.delete_files_of_ended(seconds=-1)
        assert kept.count() == left


def test_versions_are_deleted_in_as_many_passes_as_it_takes(alice: Caller) -> None:
    run(alice, "for name in 'abc': open(name, 'w').write('x')")
    SandboxFile.objects.update(superseded_at=timezone.now() - timedelta(days=30))
    assert [store_keeper.expire_versions(seconds=-1) for _ in range(4)] == [1, 1, 1, 0]


def test_a_sweep_goes_on_where_it_stopped_and_begins_anew_after_a_failure(
    store_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[None] = []

    def look() -> object:
        looks.append(None)
        yield from ([], ["ab/x/one"], ["ab/x/two"])

    monkeypatch.setattr(store, "kept_long_ago", look)
    sweep = Sweep()
    # The last time finds that this was all, and nothing is due for some time then.
    assert [sweep.go_on(seconds=-1) for _ in range(5)] == [0, 1, 1, 0, 0]
    assert len(looks) == 1
    sweep = Sweep()
    with monkeypatch.context() as patched:
        patched.setattr(store, "delete_file", failing(StoreUnavailable("down")))
        with pytest.raises(StoreUnavailable):
            sweep.go_on()
    assert sweep.go_on() == 2
    assert len(looks) == 3


def test_a_chain_that_cannot_be_linked_holds_up_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []
    monkeypatch.setattr(chain, "link", failing(ValueError("odd")))
    monkeypatch.setattr(rolling, "roll_up", lambda: done.append("rolled up"))
    monkeypatch.setattr(search, "note_ended", lambda: done.append("noted"))

    def prune(**_: object) -> retention.Pruned:
        done.append("pruned")
        return retention.Pruned()

    monkeypatch.setattr(retention, "prune", prune)
    keeping = Upkeep()
    assert failures_of(keeping.pass_once)
    assert done == ["rolled up", "noted"]
    assert failures_of(keeping.pass_once)
    assert done[2:] == ["rolled up", "noted", "pruned"]


def test_what_takes_several_passes_to_prune_links_all_but_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    linked: list[datetime | None] = []
    complete = iter([False, False, True])
    link = chain.link

    def note(since: datetime | None = None, *, seconds: float) -> chain.Linked:
        linked.append(since)
        return link(since, seconds=seconds)

    monkeypatch.setattr(chain, "link", note)
    monkeypatch.setattr(
        retention, "prune", lambda **_: retention.Pruned(is_complete=next(complete))
    )
    keeping = Upkeep()
    for _ in range(5):
        keeping.pass_once()
    # The first of all, and the day's.
    assert linked.count(None) == 2
    assert next(complete, "all done") == "all done"


def test_the_command_for_cron_does_all_of_it(alice: Caller, fake: FakeEngine) -> None:
    ran = run(alice, WRITE)
    LiveRun.objects.create(execution=ran.execution)
    end_all()
    out = StringIO()
    call_command("reapsessions", stdout=out)
    assert "ended 1 expired sessions" in out.getvalue()
    assert not LiveRun.objects.exists()
    assert not SandboxFile.objects.filter(deleted_at=None).exists()
    assert fake.list() == []
