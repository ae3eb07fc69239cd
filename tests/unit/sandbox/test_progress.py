"""What others see of a run while it goes on, and how they stop it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from django.db import DatabaseError, connection, connections
from django.db.models import QuerySet
from pytest_django import Settings

from audit.models import Execution, LiveRun, SandboxContainer, SandboxSession
from sandbox import keeper, pool, services
from sandbox.errors import AtCapacity
from sandbox.services import Caller, Outcome, RunRequest, progress
from sandbox.services.progress import TAIL_BYTES, tail
from tests.fakes.engine import FakeEngine
from tests.service import wait_until
from tests.unit.sandbox.helpers import content, lease, run

pytestmark = pytest.mark.django_db(transaction=True)

LONG = """
import time
open('kept.txt', 'w').write('so far')
print('out so far', flush=True)
time.sleep(60)
"""


def execute(
    caller: Caller, code: str, look: Callable[[], None], *, session_id: str = ""
) -> Outcome:
    """Whether the client is still there is asked in the run's own thread, several times a second:
    a good place to look from."""

    def abandoned() -> bool:
        look()
        return False

    asked = RunRequest(language="py", code=code, session_id=session_id)
    return services.execute(caller, asked, abandoned=abandoned)


def stop_once_it_has_written() -> None:
    for row in LiveRun.objects.exclude(stdout=""):
        LiveRun.objects.ask_to_stop(row.execution_id)


def stop_all() -> None:
    for execution in Execution.objects.running():
        LiveRun.objects.ask_to_stop(execution.pk)


@pytest.mark.usefixtures("fake")
def test_a_stopped_run_keeps_what_it_has_made_so_far(alice: Caller) -> None:
    outcome = execute(alice, LONG, stop_once_it_has_written)
    verdict = outcome.verdict
    assert (verdict.status, verdict.message) == ("aborted", "Stopped by an operator")
    assert (verdict.exit_code, verdict.signal) == (137, "SIGKILL")
    assert verdict.stdout == "out so far\n"
    assert verdict.stderr == "\n[sandbox] Stopped by an operator\n"
    assert [content(output.file) for output in outcome.outputs] == [b"so far"]
    kept = Execution.objects.get()
    assert (kept.status, kept.message) == ("aborted", "Stopped by an operator")
    assert not LiveRun.objects.exists()
    # The container is as after any other run.
    again = run(alice, "print(open('kept.txt').read())", session_id=outcome.session.pk)
    assert (again.verdict.stdout, again.reused) == ("so far\n", True)


@pytest.mark.usefixtures("fake")
def test_output_is_seen_while_it_comes_and_gone_at_the_end(alice: Caller) -> None:
    seen: list[tuple[str, str, int]] = []

    def look() -> None:
        for row in LiveRun.objects.all():
            seen.append((row.stdout, row.stderr, row.stdout_bytes))

    code = """
import sys, time
print('one', flush=True)
print('bad', file=sys.stderr, flush=True)
time.sleep(2.5)
print('two', flush=True)
time.sleep(1.5)
"""
    outcome = execute(alice, code, look)
    assert outcome.verdict.stdout == "one\ntwo\n"
    assert seen[0] == ("one\n", "bad\n", 4)
    assert seen[-1] == ("one\ntwo\n", "bad\n", 8)
    assert not LiveRun.objects.exists()


@pytest.mark.usefixtures("fake")
def test_a_short_run_asks_and_writes_nothing(
    alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine where a second is a short time."""
    monkeypatch.setattr(progress, "SECONDS", 3600)
    asked: list[str] = []

    def note(execute: Callable[..., object], sql: str, *more: object) -> object:
        asked.append(sql)
        return execute(sql, *more)

    with connection.execute_wrapper(note):
        run(alice, "print(1)")
    assert asked
    assert [sql for sql in asked if "audit_liverun" in sql] == []


@pytest.mark.usefixtures("fake")
def test_of_much_output_the_end_is_published(alice: Caller) -> None:
    sizes: list[tuple[int, int]] = []

    def look() -> None:
        for row in LiveRun.objects.all():
            sizes.append((len(row.stdout.encode()), row.stdout_bytes))

    code = "import time; print('x' * 300_000 + 'end', flush=True); time.sleep(2.5)"
    execute(alice, code, look)
    assert sizes[-1] == (TAIL_BYTES, 300_004)


def test_a_tail_begins_with_a_whole_character() -> None:
    assert tail("ä" * TAIL_BYTES) == "ä" * (TAIL_BYTES // 2)
    assert tail("x" + "ä" * TAIL_BYTES + "!") == "ä" * (TAIL_BYTES // 2 - 1) + "!"
    assert tail("a\ufffdb") == "a\ufffdb"
    assert tail("") == ""


@pytest.mark.usefixtures("fake")
def test_a_secret_that_began_before_the_tail_is_not_shown(alice: Caller) -> None:
    shown: list[str] = []

    def look() -> None:
        shown.extend(row.stdout for row in LiveRun.objects.all())

    code = f"""
import time
print("-----BEGIN PRIVATE KEY-----")
for _ in range({TAIL_BYTES} // 60):
    print("SECRET" * 10)
print("-----END PRIVATE KEY-----", flush=True)
time.sleep(2.5)
"""
    execute(alice, code, look)
    assert shown[-1] == "[redacted: private key]\n"


@pytest.mark.usefixtures("fake")
def test_a_run_in_line_for_a_container_is_stopped(alice: Caller, settings: Settings) -> None:
    settings.SANDBOX_MAX_CONTAINERS = 1
    pool.reserve()
    outcome = execute(alice, "print(1)", stop_all)
    assert outcome.verdict.status == "aborted"
    assert "Stopped by an operator" in outcome.verdict.stderr
    kept = Execution.objects.get()
    assert (kept.status, kept.exit_code, kept.signal) == ("aborted", 137, "SIGKILL")
    assert kept.queued_at is not None
    assert SandboxSession.objects.get().lease_expires_at is None
    assert not LiveRun.objects.exists()


@pytest.mark.usefixtures("fake")
def test_a_run_in_line_for_its_session_is_stopped(alice: Caller) -> None:
    session = run(alice, "print(1)").session
    token = lease(session)
    outcome = execute(alice, "print(2)", stop_all, session_id=session.pk)
    assert outcome.verdict.status == "aborted"
    kept = Execution.objects.latest("created_at")
    assert (kept.status, kept.exit_code, kept.signal) == ("aborted", 137, "SIGKILL")
    assert "Stopped by an operator" in kept.stderr
    # The other run has the session still.
    session.refresh_from_db()
    assert session.lease_token == token
    assert not LiveRun.objects.exists()


@pytest.mark.usefixtures("fake")
def test_one_is_stopped_and_its_neighbours_go_on(alice: Caller) -> None:
    """Each in a worker of its own, and whoever stops it in another."""

    def work(number: int) -> Outcome:
        code = f"import time; print({number}, flush=True); time.sleep({60 if number == 1 else 3})"
        try:
            return run(alice, code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as workers:
        outcomes = [workers.submit(work, number) for number in range(3)]
        wait_until(lambda: LiveRun.objects.filter(stdout="1\n").exists())
        assert LiveRun.objects.ask_to_stop(LiveRun.objects.get(stdout="1\n").pk)
        statuses = [outcome.result().verdict.status for outcome in outcomes]
    assert statuses == ["succeeded", "aborted", "succeeded"]


@pytest.mark.usefixtures("fake")
def test_to_stop_again_changes_nothing_and_one_that_has_ended_cannot_be_stopped(
    alice: Caller,
) -> None:
    asked: list[bool] = []

    def stop_twice() -> None:
        if LiveRun.objects.exclude(stdout="").exists():
            [row] = LiveRun.objects.all()
            asked.extend([LiveRun.objects.ask_to_stop(row.pk) for _ in range(2)])
            row.refresh_from_db()
            # Asking leaves what the worker has published.
            assert row.stdout == "out so far\n"

    outcome = execute(alice, LONG, stop_twice)
    assert asked[:2] == [True, False]
    assert outcome.verdict.status == "aborted"
    assert not LiveRun.objects.ask_to_stop(Execution.objects.get().pk)
    assert not LiveRun.objects.ask_to_stop("nothing-of-this-name1")
    assert not LiveRun.objects.exists()


@pytest.mark.usefixtures("fake")
def test_a_client_that_leaves_is_not_an_operator(alice: Caller, settings: Settings) -> None:
    request = RunRequest(language="py", code=LONG)
    outcome = services.execute(alice, request, abandoned=lambda: True)
    assert outcome.verdict.message == "Client disconnected"
    settings.SANDBOX_MAX_CONTAINERS = 1
    SandboxContainer.objects.update(state="leased")
    with pytest.raises(AtCapacity):
        services.execute(alice, replace(request, code="1"), abandoned=lambda: True)


@pytest.mark.usefixtures("fake")
def test_a_run_goes_on_while_the_database_is_away(
    alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = threading.Event()

    def away(**_: object) -> QuerySet[LiveRun]:
        tried.set()
        raise DatabaseError("the server closed the connection")

    monkeypatch.setattr(LiveRun.objects, "filter", away)
    outcome = run(alice, "import time; time.sleep(2); print('done')")
    assert tried.is_set()
    assert outcome.verdict.stdout == "done\n"


def test_the_keeper_removes_what_dead_workers_leave(alice: Caller, fake: FakeEngine) -> None:
    ended = run(alice, "print(1)").execution
    gone = LiveRun(execution=ended, stdout="old")
    LiveRun.objects.publish(gone)
    running = Execution.objects.get()
    running.pk, running.status = "running-one-of-21-chr", "running"
    running.lease_token = "its"
    running.save(force_insert=True)
    session = running.session
    SandboxSession.objects.filter(pk=session.pk).update(
        lease_token="its", lease_expires_at=session.expires_at
    )
    LiveRun.objects.publish(LiveRun(execution=running, stdout="new"))
    keeper.tidy()
    assert LiveRun.objects.get().stdout == "new"
    # One that is deleted with its history takes its row along.
    running.delete()
    assert not LiveRun.objects.exists()


def test_its_table_is_written_to_no_log() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relpersistence FROM pg_class WHERE relname = 'audit_liverun'")
        assert cursor.fetchone() == ("u",)
