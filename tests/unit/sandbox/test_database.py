"""What a run asks of the database, and when it waits for the disk."""

import time
from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit.models import Execution, SandboxSession
from keys.models import APIKey
from sandbox import keeper
from sandbox.database import replace_broken_connection
from sandbox.errors import LeaseLost
from sandbox.services import Caller, sessions
from tests.fakes.engine import FakeEngine
from tests.unit.sandbox.helpers import put, ref, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("fake")]


@pytest.fixture
def caller() -> Caller:
    return Caller(key=APIKey.issue(name="Alice")[0])


def statements(ask: Callable[[], object]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        ask()
    return [query["sql"].split("SET LOCAL synchronous_commit = off;")[-1] for query in captured]


def test_a_run_in_a_session_of_its_own_takes_two_statements(caller: Caller) -> None:
    first = run(caller, "print(1)")
    asked = statements(lambda: run(caller, "print(1)", session_id=first.session.pk))
    assert [sql.split()[:2] for sql in asked] == [["WITH", "taken"], ["WITH", "held"]]


def test_so_does_one_in_a_session_that_was_asked_for_by_its_hint(caller: Caller) -> None:
    run(caller, "print(1)", hint="c")
    assert len(statements(lambda: run(caller, "print(1)", hint="c"))) == 2


def test_so_does_one_in_a_new_session_with_a_hot_container(caller: Caller) -> None:
    keeper.refill()
    asked = statements(lambda: run(caller, "print(1)"))
    assert [sql.split()[:2] for sql in asked] == [["WITH", "made"], ["WITH", "held"]]


def test_only_what_a_client_is_told_of_waits_for_the_disk(caller: Caller) -> None:
    given = put(caller, ("given.txt", b"1")).files[0]
    keeper.refill()
    with CaptureQueriesContext(connection) as captured:
        run(caller, "open('a.txt', 'w').close()", files=[ref(given)])
    writes = [query["sql"].strip() for query in captured]
    quick = [sql for sql in writes if "synchronous_commit" in sql]
    assert [sql.split()[:2] for sql in quick] == [["WITH", "made"]]
    durable = [
        sql for sql in writes if sql.startswith(("INSERT", "UPDATE", "WITH")) and sql not in quick
    ]
    assert durable[0].startswith('UPDATE "audit_sandboxsession" SET "last_used_at"')
    assert durable[1].startswith("WITH held")
    assert any('INTO "audit_sandboxfile"' in sql for sql in durable)
    with CaptureQueriesContext(connection) as captured:
        put(caller, ("other.txt", b"1"))
    assert not any("synchronous_commit" in query["sql"] for query in captured)


def test_the_quick_commits_leave_the_connection_as_it_was(caller: Caller) -> None:
    run(caller, "print(1)")
    with connection.cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")
        before = cursor.fetchone()
        cursor.execute("SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'")
        assert cursor.fetchone() == before


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid: int = cursor.fetchone()[0]
        return pid


def terminate(pid: int) -> None:
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    finally:
        other.close()


def test_a_connection_that_broke_during_a_short_run_is_replaced(caller: Caller) -> None:
    broken = backend()
    replace_broken_connection()
    assert backend() == broken
    terminate(broken)
    deadline = time.monotonic() + 5
    while connection.connection is not None and time.monotonic() < deadline:
        replace_broken_connection()
    run(caller, "print(1)")
    assert Execution.objects.get().status == Execution.Status.SUCCEEDED


def test_the_pool_gives_out_no_connection_that_broke_in_it() -> None:
    broken = backend()
    connection.close()
    terminate(broken)
    for _ in range(10):
        assert backend() != broken
        connection.close()


def test_a_run_that_takes_a_while_holds_no_connection(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []
    renew = sessions.Lease.renew

    def noting(self: sessions.Lease) -> None:
        renew(self)
        held.append(connection.connection is not None)

    monkeypatch.setattr(sessions.Lease, "renew", noting)
    run(caller, "import time; time.sleep(2.5)")
    assert len(held) > 1
    assert not any(held)


def test_a_run_whose_row_the_database_has_lost_is_no_success(
    caller: Caller, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a crash, of which the connection pool has seen nothing."""
    first = run(caller, "print(1)")

    def lose(self: sessions.Lease) -> None:
        Execution.objects.running().delete()

    monkeypatch.setattr(sessions.Lease, "renew", lose)
    with pytest.raises(LeaseLost):
        run(caller, "import time; time.sleep(1.5)", session_id=first.session.pk)
    assert fake.list() == []
    assert SandboxSession.objects.get().lease_expires_at is None
