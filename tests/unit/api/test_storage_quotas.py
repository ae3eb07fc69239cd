"""How much a key, and a user of it, may keep in the store, as its callers see it."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from pytest_django import Settings

from audit.models import Execution, LimitHit, Reservation, SandboxFile, SandboxSession
from tests.unit.api.librechat import LibreChat
from tests.unit.api.test_quotas import allow, going_on, usage


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
