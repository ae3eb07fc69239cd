"""What can be done to sessions and containers in the admin."""

from __future__ import annotations

import io
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audit.models import (
    Execution,
    LiveRun,
    SandboxContainer,
    SandboxFile,
    SandboxSession,
)
from sandbox import keeper, pool, store
from sandbox.services import Caller
from sandbox.services.archiving import NOTE, safe, workspace_files, zipped
from tests.fakes.engine import FakeEngine
from tests.unit.sandbox.helpers import lease, put, ref, run

pytestmark = pytest.mark.django_db
SESSIONS = "admin:audit_sandboxsession_changelist"


def page(row: SandboxSession | SandboxContainer, action: str = "change") -> str:
    return reverse(f"admin:audit_{row._meta.model_name}_{action}", args=(quote(row.pk),))


def confirm(client: Client, address: str, **more: Any) -> str:
    """Asks first, and changes nothing until that is answered; what the next page says."""
    asked = client.post(address, more) if more else client.get(address)
    assert 'name="confirmed"' in asked.content.decode()
    assert not LogEntry.objects.exists()
    done = client.post(address, more | {"confirmed": "yes"}, follow=True)
    assert done.status_code == 200
    return done.content.decode()


def work_in(session: SandboxSession, **fields: Any) -> Execution:
    """As if a worker had a run of it."""
    token = lease(session)
    assert token
    SandboxContainer.objects.filter(session=session, state="idle").update(state="leased")
    return Execution.objects.create(
        key=session.key, session=session, language="py", lease_token=token, **fields
    )


def archive(client: Client, session: SandboxSession) -> zipfile.ZipFile:
    answer = client.get(page(session, "download"))
    assert answer["Content-Type"] == "application/zip"
    assert answer["Content-Disposition"] == f'attachment; filename="{session.pk}.zip"'
    return zipfile.ZipFile(io.BytesIO(b"".join(answer)))


def test_an_expired_session_leaves_rows_and_nothing_else(
    admin_client: Client, alice: Caller, bob: Caller, fake: FakeEngine, store_dir: Path
) -> None:
    kept = run(bob, "open('a', 'w').write('1')").session
    session = run(alice, "open('b', 'w').write('2')").session
    assert "1 expired." in confirm(admin_client, page(session, "expire_now"))
    session.refresh_from_db()
    assert session.ended_at is not None
    assert [file.deleted_at is None for file in session.files.all()] == [False]
    assert [path.name for path in store_dir.rglob("*") if path.is_file()] == [kept.files.get().pk]
    assert len(fake.list()) == 1
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.get_change_message()) == (session.pk, "Expired.")
    assert "Expire now" not in admin_client.get(page(session)).content.decode()


@pytest.mark.usefixtures("fake")
def test_several_are_expired_at_once_and_what_runs_is_stopped_first(
    admin_client: Client, alice: Caller
) -> None:
    kept, quiet, busy = (run(alice, "print(1)").session for _ in range(3))
    running = work_in(busy)
    chosen = {"action": "expire_selected", "_selected_action": [quiet.pk, busy.pk]}
    text = confirm(admin_client, reverse(SESSIONS), **chosen)
    assert "1 expired; 1 will when their runs have stopped." in text
    assert set(SandboxSession.objects.live()) == {kept}
    assert LiveRun.objects.asked_to_stop().get().pk == running.pk
    busy.refresh_from_db()
    assert busy.ended_at is None
    # The run has stopped, and gives it back.
    assert busy.release(running.lease_token)
    keeper.reap_sessions()
    busy.refresh_from_db()
    assert busy.ended_at is not None
    assert LogEntry.objects.count() == 2


@pytest.mark.usefixtures("fake")
def test_to_expire_again_changes_nothing(admin_client: Client, alice: Caller) -> None:
    session = run(alice, "print(1)").session
    ended = timezone.now() - timedelta(hours=1)
    SandboxSession.objects.update(ended_at=ended, expires_at=ended)
    chosen = {"action": "expire_selected", "_selected_action": [session.pk], "confirmed": "yes"}
    text = admin_client.post(reverse(SESSIONS), chosen, follow=True).content.decode()
    assert "None of these is live." in text
    session.refresh_from_db()
    assert session.ended_at == session.expires_at == ended


@pytest.mark.usefixtures("fake")
def test_what_runs_in_a_session_is_stopped(admin_client: Client, alice: Caller) -> None:
    session = run(alice, "print(1)").session
    assert admin_client.get(page(session, "stop_run")).status_code == 403
    running = work_in(session)
    waiting = Execution.objects.create(key=session.key, session=session, language="py")
    assert "Being stopped." in confirm(admin_client, page(session, "stop_run"))
    asked = set(LiveRun.objects.asked_to_stop().values_list("pk", flat=True))
    assert asked == {running.pk, waiting.pk}
    logged = LogEntry.objects.values_list("object_id", "change_message")
    assert set(logged) == {(running.pk, "Stopped."), (waiting.pk, "Stopped.")}


def test_a_container_ends_and_the_files_stay(
    admin_client: Client, alice: Caller, fake: FakeEngine
) -> None:
    session = run(alice, "open('a', 'w').write('kept')").session
    text = admin_client.get(page(session)).content.decode()
    assert "End its container" in text
    assert "memory_mb=512" in text
    confirm(admin_client, page(session, "end_container"))
    assert fake.list() == []
    assert SandboxContainer.objects.get().end_reason == "removed by an operator"
    again = run(alice, "print(open('a').read())", session_id=session.pk)
    assert again.verdict.stdout == "kept\n"
    assert LogEntry.objects.get().object_id == session.pk


def test_a_container_that_a_run_is_in_stays(
    admin_client: Client, alice: Caller, fake: FakeEngine
) -> None:
    session = run(alice, "print(1)").session
    container = SandboxContainer.objects.get()
    work_in(session)
    for address in (page(session, "end_container"), page(container, "remove")):
        assert admin_client.post(address, {"confirmed": "yes"}).status_code == 403
    assert len(fake.list()) == 1
    assert "End its container" not in admin_client.get(page(session)).content.decode()


def test_a_waiting_container_is_removed_on_its_page(
    admin_client: Client, db: None, fake: FakeEngine
) -> None:
    warm = pool.reserve()
    assert warm
    assert pool.admit(warm, lambda: pool.boot(warm))
    assert "is removed." in confirm(admin_client, page(warm, "remove"))
    assert fake.list() == []
    warm.refresh_from_db()
    assert (warm.state, warm.end_reason) == ("gone", "removed by an operator")
    assert warm.removed_at is not None
    assert LogEntry.objects.get().object_id == warm.pk
    assert admin_client.get(page(warm, "remove")).status_code == 403


@pytest.mark.usefixtures("fake")
def test_a_workspace_is_downloaded_with_what_was_given_to_it(
    admin_client: Client, alice: Caller
) -> None:
    given = put(alice, ("given.csv", b"a,b\n"), ("old.txt", b"old")).files
    code = """
import os
os.makedirs('deep/er')
open('deep/er/größe 1.txt', 'w').write('x' * 700_000)
open('old.txt', 'w').write('new')
open('run.sh', 'w').write('echo')
os.chmod('run.sh', 0o755)
open('empty', 'w').close()
"""
    session = run(alice, code, files=[ref(file) for file in given]).session
    unpacked = archive(admin_client, session)
    assert unpacked.testzip() is None
    content = {info.filename: unpacked.read(info) for info in unpacked.infolist()}
    assert content == {
        "given.csv": b"a,b\n",
        "old.txt": b"new",
        "deep/er/größe 1.txt": b"x" * 700_000,
        "run.sh": b"echo",
        "empty": b"",
    }
    modes = {info.filename: info.external_attr >> 16 for info in unpacked.infolist()}
    assert (modes["run.sh"], modes["empty"]) == (0o100755, 0o100644)
    assert LogEntry.objects.get().get_change_message() == "Downloaded 5 files."


@pytest.mark.usefixtures("fake")
def test_a_file_that_the_store_has_lost_is_named_and_the_others_come(
    admin_client: Client, alice: Caller
) -> None:
    code = "for name in 'abc': open(name, 'w').write(name)"
    session = run(alice, code).session
    store.delete_file(session.files.get(name="b").store_key)
    unpacked = archive(admin_client, session)
    assert {name: unpacked.read(name) for name in unpacked.namelist()} == {
        "a": b"a",
        "c": b"c",
        NOTE: b"b: the file store does not have it\n",
    }


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a/b c.txt", "a/b c.txt"),
        ("<script>alert(1)<\\script>", "<script>alert(1)<_script>".replace("_", "/")),
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("a/./../b//c", "a/b/c"),
        ("..\\..\\windows\\system.ini", "windows/system.ini"),
        ("C:/boot.ini", "C_/boot.ini"),
        ("nul\0byte", "nul\ufffdbyte"),
        ("..", "_"),
        ("", "_"),
        ("=cmd|' /C calc'!A0.csv", "=cmd|' /C calc'!A0.csv"),
        ("\u202egnp.exe", "\u202egnp.exe"),
    ],
)
def test_a_name_leads_nowhere_but_below_and_is_otherwise_as_it_was(name: str, kept: str) -> None:
    assert safe(name) == kept


def test_hostile_rows_are_unpacked_below_and_side_by_side(
    alice: Caller, tmp_path: Path, fake: FakeEngine
) -> None:
    session = run(alice, "open('a', 'w').write('first')").session
    for name in ("../a", "/a", "../../out", NOTE):
        copy = SandboxFile(session=session, name=name, size=3, sha256="0" * 64)
        file = store.IncomingFile()
        file.write(b"bad")
        file.keep(copy.store_key)
        copy.save()
    SandboxFile.objects.create(session=session, name="lost", size=1, sha256="0" * 64)
    packed = io.BytesIO(b"".join(zipped(workspace_files(session))))
    with zipfile.ZipFile(packed) as unpacked:
        names = unpacked.namelist()
        unpacked.extractall(tmp_path / "here")
    assert names == ["a", "a (2)", "a (3)", "out", NOTE, f"{NOTE} (2)"]
    assert {path.name for path in (tmp_path / "here").iterdir()} == set(names)
    assert {path.name for path in tmp_path.iterdir()} <= {"here", "store"}


@pytest.mark.usefixtures("fake")
def test_who_may_only_view_does_nothing(client: Client, alice: Caller) -> None:
    auditor = User.objects.create_user("auditor", is_staff=True)
    sees = Permission.objects.filter(codename__startswith="view_").exclude(codename="view_output")
    auditor.user_permissions.set(sees)
    client.force_login(auditor)
    session = run(alice, "open('a', 'w').write('1')").session
    container = SandboxContainer.objects.get()
    text = client.get(page(session)).content.decode()
    for action in ("expire_now", "end_container", "download", "stop_run"):
        assert page(session, action) not in text
        assert client.post(page(session, action), {"confirmed": "yes"}).status_code == 403
    assert client.post(page(container, "remove"), {"confirmed": "yes"}).status_code == 403
    chosen = {"action": "expire_selected", "_selected_action": [session.pk], "confirmed": "yes"}
    client.post(reverse(SESSIONS), chosen)
    assert session in SandboxSession.objects.live()
    assert not LogEntry.objects.exists()
