"""How much a key, and a user of it, may keep in the store, as its callers see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from audit.models import Execution, LimitHit, Reservation, SandboxFile, SandboxSession
from audit.quotas import stored_bytes, stored_of
from sandbox import quotas, storage_quotas
from tests.unit.api.librechat import LibreChat
from tests.unit.api.test_quotas import allow, going_on, usage

MB = 1024 * 1024


def fill(client: LibreChat, megabytes: float, name: str = "a.bin", **fields: Any) -> Any:
    size = int(megabytes * 1024 * 1024)
    return client.run(f"open({name!r}, 'wb').write(bytes({size}))", **fields)


def test_an_upload_over_the_quota_is_refused_and_leaves_nothing(
    alice: LibreChat, settings: Settings
) -> None:
    allow(alice, stored_mb=1)
    alice.upload(("a.bin", bytes(700_000)))
    before = sorted(settings.SANDBOX_STORE_DIR.rglob("*"))
    for path in ("/upload", "/upload/batch"):
        refused = alice.post_form(path, ("b.bin", bytes(400_000)))
        assert refused.status_code == 413
        body = refused.json()
        assert body["error"] == "Storage quota exceeded"
        assert "quota of this key is used up: 1 MB of stored files. Delete" in body["message"]
    assert sorted(settings.SANDBOX_STORE_DIR.rglob("*")) == before
    assert SandboxFile.objects.count() == SandboxSession.objects.count() == 1
    assert usage(alice).refused == {"stored_mb": 2}
    alice.upload(("c.bin", bytes(300_000)))


def test_room_comes_back_with_files_that_are_deleted_or_expire(alice: LibreChat) -> None:
    allow(alice, stored_mb=1)
    first = alice.upload(("a.bin", bytes(900_000)))
    place = f"{first['session_id']}/{first['files'][0]['id']}"
    assert alice.post_form("/upload", ("b.bin", bytes(900_000))).status_code == 413
    assert alice.delete(f"/files/{place}").status_code == 200
    alice.upload(("b.bin", bytes(900_000)))
    SandboxSession.objects.update(expires_at=timezone.now())
    alice.upload(("c.bin", bytes(900_000)))


def test_each_user_stores_by_themselves(alice: LibreChat) -> None:
    allow(alice, user_stored_mb=1)
    alice.upload(("a.bin", bytes(900_000)))  # Of the user u1, as its header says.
    refused = alice.post_form("/upload", ("b.bin", bytes(900_000)))
    assert refused.status_code == 413
    assert "quota of this user" in refused.json()["message"]
    fill(alice, 0.9, user_id="u2")
    assert usage(alice, "u1").refused == usage(alice).refused == {"user_stored_mb": 1}


def test_a_run_is_answered_and_its_files_over_the_quota_are_left_out(alice: LibreChat) -> None:
    allow(alice, stored_mb=1)
    code = (
        "open('a.bin', 'wb').write(bytes(700_000)); open('b.bin', 'wb').write(bytes(600_000));"
        "open('c.bin', 'wb').write(bytes(200_000)); print('done')"
    )
    answer = alice.run(code)
    assert (answer["stdout"], answer["code"]) == ("done\n", 0)
    assert sorted(file["name"] for file in answer["files"]) == ["a.bin", "c.bin"]
    assert answer["artifact_truncation"] == {
        "code": "artifact_truncated",
        "reasons": {"size": 1},
        "skipped": ["b.bin"],
        "skipped_count": 1,
    }
    assert answer["limits_hit"] == [LimitHit.STORED_BYTES]
    assert "the storage quota is used up" in answer["stderr"]
    run = Execution.objects.get()
    assert (run.status, run.limits_hit) == ("succeeded", ["stored_bytes"])
    assert not Reservation.objects.exists()
    # What is still in the container can be gone on with.
    again = alice.run("import os; print(sorted(os.listdir()))", session_id=answer["session_id"])
    assert "'b.bin'" in again["stdout"]


def test_a_file_that_outgrows_the_quota_stays_in_the_store_as_it_was(alice: LibreChat) -> None:
    allow(alice, stored_mb=1)
    first = fill(alice, 0.5)
    grown = fill(alice, 0.9, session_id=first["session_id"])
    assert grown["limits_hit"] == ["stored_bytes"]
    assert not grown.get("deleted_files")
    [file] = SandboxFile.objects.current().filter(session=first["session_id"])
    assert (file.name, file.size) == ("a.bin", 512 * 1024)


def test_what_a_run_is_about_to_keep_counts_for_the_others(alice: LibreChat) -> None:
    allow(alice, stored_mb=1)
    run = going_on(alice)
    Reservation.objects.create(pk=run.pk, key=alice.key, stored_bytes=900_000)
    assert alice.post_form("/upload", ("b.bin", bytes(400_000))).status_code == 413
    assert fill(alice, 0.4)["limits_hit"] == ["stored_bytes"]
    # Its worker died.
    run.abort("gone")
    assert fill(alice, 0.4)["code"] == 0
    assert Execution.objects.latest("created_at").limits_hit == []


def test_all_kept_and_promised_bytes_are_summed_up_for_the_key_and_its_user(
    alice: LibreChat, bob: LibreChat
) -> None:
    fill(bob, 0.5)
    fill(alice, 0.1, user_id="u1")
    fill(alice, 0.2, user_id="u2")
    for number, user in enumerate(("u1", "", "u1")):
        run = going_on(alice, user)
        Reservation.objects.create(
            pk=run.pk, key=alice.key, user_id=user, stored_bytes=10 ** (number + 1)
        )
    # The last one's worker died, and a file and a session have gone.
    run.abort("gone")
    deleted = fill(alice, 0.3, user_id="u1")["session_id"]
    SandboxFile.objects.filter(session=deleted).update(deleted_at=timezone.now())
    expired = fill(alice, 0.3, user_id="u1")["session_id"]
    SandboxSession.objects.filter(pk=expired).update(expires_at=timezone.now())
    first, second = int(0.1 * MB), int(0.2 * MB)
    assert stored_of(alice.key, "u1") == (first + second + 110, first + 10)
    assert stored_bytes(alice.key, "") == first + second + 110
    assert stored_bytes(alice.key, "u1") == stored_of(alice.key, "u1", of_all=False).of_user
    assert stored_of(alice.key, "u1", of_all=False).of_user == first + 10


def test_a_run_that_keeps_files_costs_two_short_statements_more(alice: LibreChat) -> None:
    def asked(name: str) -> int:
        # The key is read once more when it has changed.
        alice.run("1", session_id=session, user_id="u1")
        with CaptureQueriesContext(connection) as queries:
            fill(alice, 0.001, name, session_id=session, user_id="u1")
        return len(queries)

    session = alice.run("1", user_id="u1")["session_id"]
    asked("first.bin")
    without = asked("a.bin")
    allow(alice, stored_mb=1, user_stored_mb=1)
    assert asked("b.bin") == without + 2
    allow(alice, runs_per_hour=99)
    assert asked("c.bin") == without + 4
    with CaptureQueriesContext(connection) as queries:
        alice.run("1", session_id=session, user_id="u1")
    assert not [
        query for query in queries if "sandboxfile" in query["sql"] and "sum" in query["sql"]
    ]


# --- who waits for whom ---

Hold = Callable[..., None]


@pytest.fixture
def held() -> Iterator[Hold]:
    """Locks that another process holds; who waits for one gives up soon."""
    other = connection.copy()

    def hold(lock: int, numbers: Sequence[int]) -> None:
        with other.cursor() as cursor:
            for number in numbers:
                cursor.execute("SELECT pg_advisory_lock(%s, %s)", [lock, number])
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '200ms'")

    yield hold
    other.close()


def lanes(client: LibreChat) -> list[int]:
    return [client.key.pk * storage_quotas.LANES + lane for lane in storage_quotas.ALL_LANES]


def keep_little(client: LibreChat) -> None:
    run = going_on(client)
    assert storage_quotas.reserve(run, "", {"a": MB // 100}) == set()
    assert Reservation.objects.get(pk=run.pk).stored_bytes == MB // 100
    with transaction.atomic():
        storage_quotas.hold(client.key, "", MB // 100)


def waits(client: LibreChat, size: int) -> bool:
    """The same for what runs and what uploads keep."""
    seen = []
    run = going_on(client)
    for keep in (
        lambda: storage_quotas.reserve(run, "", {"a": size}),
        lambda: storage_quotas.hold(client.key, "", size),
    ):
        try:
            with transaction.atomic():
                keep()
        except OperationalError:
            seen.append(True)
        else:
            seen.append(False)
        Reservation.objects.filter(pk=run.pk).delete()
    assert len(set(seen)) == 1
    return seen[0]


def test_who_keeps_something_does_not_wait_for_who_is_counted(alice: LibreChat, held: Hold) -> None:
    allow(alice, stored_mb=1)
    alice.key.refresh_from_db()
    held(quotas.KEY_LOCK, [alice.key.pk])
    keep_little(alice)


def test_little_is_kept_in_a_lane_while_others_are_in_theirs(
    alice: LibreChat, held: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(alice, stored_mb=1)
    alice.key.refresh_from_db()
    held(storage_quotas.LANE_LOCK, lanes(alice)[1:])
    monkeypatch.setattr(storage_quotas, "_any_lane", lambda: [0])
    keep_little(alice)
    monkeypatch.setattr(storage_quotas, "_any_lane", lambda: [1])
    assert waits(alice, MB // 100)


def test_who_keeps_much_or_finds_little_room_waits_for_all_others(
    alice: LibreChat, held: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(alice, stored_mb=1)
    alice.key.refresh_from_db()
    held(storage_quotas.LANE_LOCK, lanes(alice)[-1:])
    monkeypatch.setattr(storage_quotas, "_any_lane", lambda: [0])
    share = MB // (4 * storage_quotas.LANES)
    assert (waits(alice, share), waits(alice, share + 1)) == (False, True)
    # Each of the other lanes may hold a share that nobody sees yet.
    taken = MB - storage_quotas.LANES * share
    promised = going_on(alice)
    Reservation.objects.create(pk=promised.pk, key=alice.key, stored_bytes=taken)
    assert not waits(alice, share)
    Reservation.objects.update(stored_bytes=taken + 1)
    assert waits(alice, share)
