"""A worker that has died holds nobody up for as long as a lease lasts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone
from pytest_django import Settings

from audit.models import Execution, SandboxContainer, SandboxSession
from audit.presence import LOCKS, MARK
from sandbox import keeper
from sandbox.census import Census
from sandbox.errors import AtCapacity, LeaseLost
from sandbox.services import Caller
from tests.fakes.engine import FakeEngine
from tests.service import ROOT, wait_until
from tests.unit.sandbox.helpers import run

pytestmark = pytest.mark.django_db(transaction=True)

# As an API process: it announces itself, leases a session, and goes on for ever.
WORKER = """
import sys, threading, django
django.setup()
from datetime import timedelta
from django.utils import timezone
from audit.models import SandboxSession
from audit.presence import announce
assert announce().is_known.wait(60)
until = timezone.now() + timedelta(hours=1)
print(SandboxSession.objects.take(sys.argv[1], expires_at=until).lease_token, flush=True)
threading.Event().wait()
"""


@contextmanager
def worker(session: SandboxSession) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """It, and the token of its lease on the session."""
    url = urlsplit(os.environ["DATABASE_URL"])
    name = connection.settings_dict["NAME"]
    environment = os.environ | {
        "DATABASE_URL": url._replace(path=f"{url.path.rpartition('/')[0]}/{name}").geturl(),
        "DJANGO_SETTINGS_MODULE": "interpreter_site.settings",
    }
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, session.pk],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()
    # Its connections must have ended before the tests' database is removed.
    wait_until(lambda: not locks())


def locks() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND granted",
            [LOCKS],
        )
        return [pid for (pid,) in cursor.fetchall()]


@pytest.fixture
def session(alice: Caller) -> SandboxSession:
    return SandboxSession.objects.create(
        key=alice.key,
        origin=SandboxSession.Origin.RUN,
        expires_at=timezone.now() + timedelta(hours=1),
    )


def waiting(session: SandboxSession, token: str) -> Execution:
    """First in the line for a container."""
    return Execution.objects.create(
        key=session.key,
        session=session,
        language="py",
        lease_token=token,
        queued_at=timezone.now() - timedelta(seconds=1),
    )


def at_once() -> Census:
    return Census(absence_seconds=0, settled_seconds=0)


def test_a_dead_workers_run_holds_up_the_line_until_the_keeper_sees_it(
    alice: Caller, fake: FakeEngine, session: SandboxSession, settings: Settings
) -> None:
    settings.SANDBOX_QUEUE_SECONDS = 0.2
    with worker(session) as (process, token):
        dead = waiting(session, token)
        with pytest.raises(AtCapacity):
            run(alice, "print(1)")
        assert at_once().end_leases_of_dead() == 0
        process.kill()
        process.wait()
        census = at_once()
        wait_until(lambda: census.end_leases_of_dead() == 1)
    assert run(alice, "print(1)").verdict.stdout == "1\n"
    # It had its turn, so there is nothing to wait for.
    assert keeper.abort_executions() == 1
    dead.refresh_from_db()
    assert dead.status == Execution.Status.ABORTED
    session.refresh_from_db()
    assert session.lease_expires_at
    assert session.lease_expires_at <= timezone.now()


def test_a_dead_workers_container_makes_room(
    alice: Caller, fake: FakeEngine, session: SandboxSession
) -> None:
    ran = run(alice, "print(1)")
    container = ran.execution.container
    assert container
    with worker(ran.session) as (process, token):
        assert MARK in token
        SandboxContainer.objects.update(state=SandboxContainer.State.LEASED)
        process.kill()
        process.wait()
        census = at_once()
        wait_until(lambda: census.end_leases_of_dead() == 1)
    keeper.tidy()
    container.refresh_from_db()
    assert container.state == SandboxContainer.State.GONE
    assert fake.list() == []


def test_one_that_is_missing_for_a_moment_is_not_dead(session: SandboxSession) -> None:
    with worker(session) as (process, token):
        waiting(session, token)
        process.kill()
        process.wait()
        wait_until(lambda: not locks())
        patient = Census(absence_seconds=3600, settled_seconds=0)
        assert patient.end_leases_of_dead() == 0
        [worker_number] = patient.missing
        assert token.startswith(worker_number)
        # A Postgres that has just started has not been told of anybody yet.
        just_started = Census(absence_seconds=0, settled_seconds=float("inf"))
        assert just_started.end_leases_of_dead() == 0
        # Long enough.
        patient.missing[worker_number] -= 3600
        assert patient.end_leases_of_dead() == 1


def test_a_new_connection_may_lead_to_a_standby_that_knows_nobody_yet(
    session: SandboxSession,
) -> None:
    with worker(session) as (process, token):
        waiting(session, token)
        process.kill()
        process.wait()
        wait_until(lambda: not locks())
        census = at_once()
        census.settled_seconds = 3600
        # As if its own connection had been there for that long.
        assert census.end_leases_of_dead() == 0
        census._settled_at -= 3600
        connection.close()
        assert census.end_leases_of_dead() == 0
        census._settled_at -= 3600
        assert census.end_leases_of_dead() == 1


def test_after_an_error_it_settles_again(
    session: SandboxSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting(session, "00000001" + MARK)
    SandboxSession.objects.update(
        lease_token="00000001" + MARK, lease_expires_at=timezone.now() + timedelta(hours=1)
    )
    census = Census(absence_seconds=0, settled_seconds=3600)
    assert census.end_leases_of_dead() == 0
    census._settled_at -= 3600
    with monkeypatch.context() as patched:
        patched.setattr("sandbox.census.ALIVE", "SELECT no_such_column")
        with pytest.raises(DatabaseError):
            census.end_leases_of_dead()
    assert census.end_leases_of_dead() == 0
    census._settled_at -= 3600
    assert census.end_leases_of_dead() == 1


def test_a_worker_whose_connection_is_cut_makes_another(session: SandboxSession) -> None:
    with worker(session) as (_, token):
        waiting(session, token)
        [before] = locks()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [before])
        wait_until(lambda: locks() not in ([], [before]))
        census = at_once()
        assert census.end_leases_of_dead() == 0
        assert census.missing == {}


def test_who_has_not_announced_itself_keeps_its_lease_as_long_as_it_lasts(
    session: SandboxSession,
) -> None:
    """As a command that runs a program, or a worker that cannot get another connection."""
    until = timezone.now() + timedelta(hours=1)
    taken = SandboxSession.objects.take(session.pk, expires_at=until)
    assert taken
    assert MARK not in taken.lease_token
    waiting(session, taken.lease_token)
    assert at_once().end_leases_of_dead() == 0


def test_what_was_aborted_does_not_change_any_more(
    alice: Caller, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that only seemed to be dead ends its run: its row stays as it was linked."""
    from sandbox.services import keeping

    finish = keeping._finish

    def late(*arguments: object) -> None:
        Execution.objects.get().abort("The server stopped during the run")
        finish(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(keeping, "_finish", late)
    with pytest.raises(LeaseLost):
        run(alice, "print(1)")
    row = Execution.objects.get()
    assert (row.status, row.stdout) == (Execution.Status.ABORTED, "")


def test_a_run_that_was_aborted_while_it_waited_gets_no_container(
    alice: Caller, fake: FakeEngine, session: SandboxSession
) -> None:
    aborted = waiting(session, "")
    assert aborted.abort("The server stopped during the run")
    container = SandboxContainer.objects.create(image="x")
    assert not aborted.assign(container, Execution.Source.POOL)
    assert not aborted.queue()
    aborted.refresh_from_db()
    assert aborted.container is None
