"""How much a key, and a user of it, may use, as its callers see it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from audit.ids import new_id
from audit.models import Execution, Reservation, SandboxSession, Usage
from keys.models import APIKey, Issuer
from sandbox import quotas
from tests.fakes.engine import FakeEngine
from tests.tokens import Signer
from tests.unit.api.librechat import LibreChat

NOON = "2030-01-01 12:00:10Z"


@pytest.fixture(autouse=True)
def long_before_midnight() -> Iterator[None]:
    with time_machine.travel(NOON):
        yield


def allow(client: LibreChat, **numbers: int) -> LibreChat:
    APIKey.objects.filter(pk=client.key.pk).update(**numbers)
    return client


def statuses(client: LibreChat, times: int, **fields: Any) -> list[int]:
    return [client.exec("print(1)", **fields).status_code for _ in range(times)]


def usage(client: LibreChat, user_id: str = "") -> Usage:
    return Usage.objects.get(key=client.key, user_id=user_id)


# --- runs in a window ---


@pytest.mark.parametrize(
    ("quota", "seconds"),
    [("runs_per_minute", 50), ("runs_per_hour", 3590), ("runs_per_day", 12 * 3600 - 10)],
)
def test_past_a_quota_a_run_is_429_until_its_window_is_over(
    alice: LibreChat, quota: str, seconds: int
) -> None:
    allow(alice, **{quota: 2})
    with time_machine.travel(NOON, tick=False) as clock:
        assert statuses(alice, 2) == [200, 200]
        refused = alice.exec("print(1)")
        assert refused.status_code == 429
        body = refused.json()
        assert body.keys() == {"error", "message", "retry_after_seconds"}
        assert (body["error"], body["retry_after_seconds"]) == ("rate_limited", seconds)
        assert refused.headers["Retry-After"] == str(seconds)
        assert "quota of this key is used up: 2 runs per" in body["message"]
        clock.shift(timedelta(seconds=seconds - 1))
        assert statuses(alice, 1) == [429]
        clock.shift(timedelta(seconds=1))
        assert statuses(alice, 3) == [200, 200, 429]


def test_a_refused_run_leaves_nothing_but_its_count(alice: LibreChat, fake: FakeEngine) -> None:
    allow(alice, runs_per_day=1)
    assert statuses(alice, 4) == [200, 429, 429, 429]
    assert Execution.objects.count() == SandboxSession.objects.count() == 1
    assert len(fake.created) == 1
    assert (usage(alice).runs, usage(alice).refused) == (1, {"runs_per_day": 3})
    assert not Reservation.objects.exists()


def test_of_several_quotas_the_one_that_takes_longest_is_told(alice: LibreChat) -> None:
    allow(alice, runs_per_minute=1, runs_per_hour=1, runs_per_day=2)
    with time_machine.travel(NOON, tick=False):
        assert statuses(alice, 1) == [200]
        assert alice.exec("1").json()["retry_after_seconds"] == 3590
    assert usage(alice).refused == {"runs_per_hour": 1}


def test_a_server_whose_clock_is_behind_does_not_begin_a_window_anew(alice: LibreChat) -> None:
    allow(alice, runs_per_minute=2)
    with time_machine.travel("2030-01-01 12:01:00Z", tick=False):
        assert statuses(alice, 1) == [200]
    with time_machine.travel("2030-01-01 12:00:59Z", tick=False):
        assert statuses(alice, 1) == [200]
    with time_machine.travel("2030-01-01 12:01:01Z", tick=False):
        assert statuses(alice, 1) == [429]


def test_each_user_has_a_quota_of_their_own_and_all_together_the_keys(alice: LibreChat) -> None:
    allow(alice, user_runs_per_day=2, runs_per_day=5)
    assert statuses(alice, 3, user_id="u1") == [200, 200, 429]
    assert statuses(alice, 3, user_id="u2") == [200, 200, 429]
    # Of nobody in particular, so the key's alone.
    assert statuses(alice, 2) == [200, 429]
    assert usage(alice).refused == {"user_runs_per_day": 2, "runs_per_day": 1}
    assert usage(alice, "u1").refused == {"user_runs_per_day": 1}
    assert usage(alice).runs == 5


def test_what_the_key_refuses_is_not_counted_for_the_user(alice: LibreChat) -> None:
    allow(alice, user_runs_per_day=2, runs_per_day=1)
    assert statuses(alice, 3, user_id="u1") == [200, 429, 429]
    assert usage(alice, "u1").runs == 1


def test_a_user_is_one_only_within_a_key(alice: LibreChat, bob: LibreChat) -> None:
    for client in (allow(alice, user_runs_per_day=1), allow(bob, user_runs_per_day=1)):
        assert statuses(client, 2, user_id="same") == [200, 429]


def test_a_user_named_by_a_file_alone_is_counted(alice: LibreChat) -> None:
    allow(alice, user_runs_per_day=1)
    ref = {"id": new_id(), "storage_session_id": new_id(), "kind": "user", "resource_id": "u1"}
    assert statuses(alice, 2, files=[ref | {"name": "a"}]) == [200, 429]


def test_a_run_that_tells_no_user_counts_for_its_sessions(alice: LibreChat) -> None:
    allow(alice, user_runs_per_day=2, user_concurrent_runs=1)
    session = alice.run("1", user_id="u1")["session_id"]
    assert statuses(alice, 2, session_id=session) == [200, 429]
    assert statuses(alice, 1, user_id="u1") == [429]
    assert (usage(alice, "u1").runs, usage(alice).runs) == (2, 2)
    # One that is not continued, or is nobody's.
    assert statuses(alice, 1, session_id=new_id()) == [200]
    nobodys = alice.run("1")["session_id"]
    assert statuses(alice, 2, session_id=nobodys) == [200, 200]


def test_a_sessions_user_is_looked_up_only_where_it_matters(alice: LibreChat) -> None:
    session = alice.run("1", user_id="u1")["session_id"]

    def asked(**fields: Any) -> int:
        # The key is read once more when it has changed.
        alice.run("1", session_id=session, **fields)
        with CaptureQueriesContext(connection) as queries:
            alice.run("1", session_id=session, **fields)
        return len(queries)

    allow(alice, runs_per_day=99)
    without = asked()
    allow(alice, user_runs_per_day=99)
    assert asked(user_id="u1") == without
    assert asked() == without + 1


def test_tenants_have_their_issuers_numbers_and_counts_of_their_own(
    db: None, fake: FakeEngine
) -> None:
    signer = Signer()
    Issuer.objects.create(name="Chat", public_keys=signer.pem, runs_per_day=1)

    def run(tenant: str, user: str) -> int:
        token = signer.mint(user, tenant_id=tenant)
        client = LibreChat(APIKey(), "")
        headers = {"Authorization": f"Bearer {token}"}
        status: int = client.post("/exec", {"lang": "py", "code": "1"}, headers=headers).status_code
        return status

    assert [run("acme", "u1"), run("acme", "u2"), run("other", "u1")] == [200, 429, 200]


def test_a_key_may_have_more_than_the_server_gives_or_no_quota_at_all(
    alice: LibreChat, bob: LibreChat, settings: Settings
) -> None:
    settings.KEYS_RUNS_PER_DAY = 1
    assert statuses(alice, 2) == [200, 429]
    assert statuses(allow(alice, runs_per_day=2), 2) == [200, 429]
    assert statuses(allow(bob, runs_per_day=0), 3) == [200, 200, 200]


def test_another_address_is_not_another_caller(alice: LibreChat) -> None:
    """All users of a LibreChat come from one."""
    allow(alice, runs_per_day=1)
    assert statuses(alice, 1) == [200]
    answer = alice.post("/exec", {"lang": "py", "code": "1"}, REMOTE_ADDR="198.51.100.9")
    assert answer.status_code == 429


def test_files_can_be_had_when_runs_are_used_up(alice: LibreChat) -> None:
    allow(alice, runs_per_day=1)
    made = alice.run("open('a.txt', 'w').write('x')")
    assert statuses(alice, 1) == [429]
    assert alice.download({"session_id": made["session_id"], **made["files"][0]}) == b"x"


def test_what_there_was_no_container_for_is_given_back(
    alice: LibreChat, settings: Settings
) -> None:
    allow(alice, runs_per_day=1, concurrent_runs=1)
    settings.SANDBOX_MAX_CONTAINERS = 0
    settings.SANDBOX_QUEUE_SECONDS = 0.05
    busy = alice.exec("print(1)")
    assert (busy.status_code, "busy" in busy.json()["message"]) == (429, True)
    settings.SANDBOX_MAX_CONTAINERS = 4
    assert statuses(alice, 2) == [200, 429]


def test_a_program_that_fails_counts(alice: LibreChat) -> None:
    allow(alice, runs_per_day=1)
    alice.run("1 / 0")
    assert statuses(alice, 1) == [429]


# --- CPU time ---


def test_after_the_cpu_seconds_of_a_day_the_next_run_is_refused(alice: LibreChat) -> None:
    allow(alice, cpu_seconds_per_day=1)
    burn = "import time\nwhile time.process_time() < 1.1: pass\nprint('done')"
    with time_machine.travel("2030-01-01 12:00Z"):
        assert alice.run(burn, timeout=300_000)["stdout"] == "done\n"
        assert usage(alice).cpu_ms == Execution.objects.get().cpu_ms
        refused = alice.exec("print(1)")
        assert (refused.status_code, "1 CPU seconds per day" in refused.json()["message"]) == (
            429,
            True,
        )
    with time_machine.travel("2030-01-02 00:00Z"):
        assert statuses(alice, 1) == [200]


# --- runs at a time ---


def going_on(client: LibreChat, user_id: str = "") -> Execution:
    later = timezone.now() + timedelta(hours=1)
    session = SandboxSession.objects.create(
        key=client.key, origin="run", expires_at=later, user_id=user_id
    )
    return Execution.objects.create(key=client.key, session=session, language="py", user_id=user_id)


def test_a_run_more_than_may_go_on_is_refused(alice: LibreChat) -> None:
    allow(alice, concurrent_runs=2, user_concurrent_runs=1)
    first = going_on(alice, "u1")
    assert statuses(alice, 1, user_id="u1") == [429]
    assert statuses(alice, 2, user_id="u2") == [200, 200]
    second = going_on(alice, "u2")
    refused = alice.exec("print(1)", user_id="u3")
    assert refused.status_code == 429
    assert "2 runs at a time" in refused.json()["message"]
    assert refused.json()["retry_after_seconds"] == 5
    for run in (first, second):
        run.abort("its worker died")
    assert statuses(alice, 1, user_id="u1") == [200]


def test_a_run_has_its_place_before_it_is_written_down(alice: LibreChat) -> None:
    allow(alice, concurrent_runs=1)
    place = Reservation.objects.create(pk=new_id(), key=alice.key)
    assert statuses(alice, 1) == [429]
    # Its worker died: nothing takes so long.
    Reservation.objects.update(created_at=timezone.now() - quotas.PLACE)
    assert statuses(alice, 1) == [200]
    quotas.sweep()
    assert not Reservation.objects.filter(pk=place.pk).exists()


def test_a_place_is_free_again_when_its_run_has_ended(alice: LibreChat) -> None:
    assert statuses(allow(alice, concurrent_runs=1), 3) == [200, 200, 200]
    assert not Reservation.objects.exists()


# --- what it costs ---


def test_without_a_quota_nothing_is_asked_and_nothing_written(alice: LibreChat) -> None:
    session = alice.run("1", user_id="u1")["session_id"]
    with CaptureQueriesContext(connection) as queries:
        alice.run("1", session_id=session, user_id="u1")
    assert not [query for query in queries if "usage" in query["sql"] or "advisory" in query["sql"]]
    assert not Usage.objects.exists()
    without = len(queries)
    allow(alice, runs_per_minute=100, user_cpu_seconds_per_day=100, concurrent_runs=9)
    with CaptureQueriesContext(connection) as queries:
        alice.run("1", session_id=session, user_id="u1")
    # One before and one after it.
    assert len(queries) == without + 2


# --- what is forgotten ---


def test_old_days_are_forgotten(alice: LibreChat) -> None:
    allow(alice, runs_per_day=9)
    began = datetime.fromisoformat("2030-01-01T12:00:00+00:00")
    with time_machine.travel(began, tick=False):
        assert statuses(alice, 1) == [200]
    with time_machine.travel(began + timedelta(days=quotas.DAYS_KEPT), tick=False):
        assert quotas.sweep() == 0
        assert statuses(alice, 1) == [200]
    with time_machine.travel(began + timedelta(days=quotas.DAYS_KEPT + 1), tick=False):
        assert quotas.sweep() == 1
    assert Usage.objects.get().runs == 1
