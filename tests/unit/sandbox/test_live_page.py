"""The page of what runs now, for each kind of person who may open it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from audit.models import Execution, LiveRun, SandboxContainer, SandboxSession
from sandbox.admin import live
from sandbox.services import Caller
from sandbox.services.progress import TAIL_BYTES

pytestmark = pytest.mark.django_db

CODE = "\n".join(f"line {number}" for number in range(100))


def make_run(caller: Caller, *, running: bool = True, **fields: Any) -> Execution:
    later = timezone.now() + timedelta(minutes=1)
    lease = {"lease_token": "its", "lease_expires_at": later} if running else {}
    session = SandboxSession.objects.create(
        key=caller.key, origin="run", expires_at=later + timedelta(hours=1), **lease
    )
    container = SandboxContainer.objects.create(
        session=session, state="leased", ready_at=timezone.now()
    )
    values = {"container": container, "lease_token": "its", "code": CODE, "language": "py"} | fields
    return Execution.objects.create(key=caller.key, session=session, **values)


def publish(run: Execution, **fields: Any) -> None:
    LiveRun.objects.publish(LiveRun(execution=run, **fields))


def grant(user: User, *codenames: str) -> None:
    """Also those that no model of this installation has declared yet."""
    of_runs = ContentType.objects.get_for_model(Execution)
    for codename in codenames:
        permission, _ = Permission.objects.get_or_create(
            codename=codename, content_type=of_runs, defaults={"name": codename}
        )
        user.user_permissions.add(permission)


@pytest.fixture
def watcher(client: Client) -> tuple[Client, User]:
    user = User.objects.create_user("watcher", is_staff=True)
    client.force_login(user)
    return client, user


def listed(client: Client) -> list[dict[str, Any]]:
    answer = client.get(reverse("live-runs"))
    assert answer.status_code == 200
    runs: list[dict[str, Any]] = answer.json()["runs"]
    return runs


def test_runs_are_listed_oldest_first_with_what_is_known_of_them(
    admin_client: Client, alice: Caller
) -> None:
    ago = timezone.now() - timedelta(seconds=90)
    new = make_run(alice, user_id="u\u202e1")
    old = make_run(alice, created_at=ago, language="bash")
    make_run(alice, status="succeeded")
    publish(old, stdout="so far\x1b", stderr="careful", stdout_bytes=7, stderr_bytes=7)
    first, second = listed(admin_client)
    assert (first["id"], second["id"]) == (old.pk, new.pk)
    assert first["seconds"] >= 90
    assert (first["key"], first["language"], first["where"]) == ("Alice", "bash", "running")
    assert (first["stdout"], first["stderr"]) == ("so far\u241b", "careful")
    assert second["user"] == "u⟨U+202E⟩1"
    assert second["code"].splitlines() == [*CODE.splitlines()[: live.CODE_LINES], "…"]
    assert (second["stdout"], second["stderr"], second["stopping"]) == ("", "", False)
    for address in (first["page"], first["session"]):
        assert admin_client.get(address).status_code == 200


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({}, "running"),
        ({"container": None, "lease_token": ""}, "in line for its session"),
        ({"container": None, "queued_at": timezone.now()}, "in line for a container"),
        ({"lease_token": "another"}, "its server has gone"),
    ],
)
def test_it_says_where_a_run_stands(
    admin_client: Client, alice: Caller, fields: dict[str, Any], where: str
) -> None:
    make_run(alice, **fields)
    assert listed(admin_client)[0]["where"] == where


def test_it_says_what_has_happened_to_its_container(admin_client: Client, alice: Caller) -> None:
    run = make_run(alice, container_source=Execution.Source.CREATED)
    containers = SandboxContainer.objects.filter(executions=run)
    SandboxContainer.objects.update(ready_at=None)
    assert listed(admin_client)[0]["where"] == "starting"
    SandboxContainer.objects.update(state="gone")
    assert containers.get().state == "gone"
    assert listed(admin_client)[0]["where"] == "its container has gone"


def test_of_long_output_there_is_the_end(admin_client: Client, alice: Caller) -> None:
    run = make_run(alice)
    publish(run, stdout="a" * TAIL_BYTES, stdout_bytes=TAIL_BYTES)
    assert listed(admin_client)[0]["stdout"] == "…\n" + "a" * live.OUTPUT_CHARACTERS
    publish(run, stdout="äb", stdout_bytes=TAIL_BYTES + 1)
    assert listed(admin_client)[0]["stdout"] == "…\näb"
    publish(run, stdout="äb", stdout_bytes=3)
    assert listed(admin_client)[0]["stdout"] == "äb"


def test_many_runs_are_counted_and_the_oldest_listed_by_two_queries(
    admin_client: Client, alice: Caller, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    runs = [make_run(alice) for _ in range(live.LISTED + 2)]
    # Two are the login's.
    with django_assert_num_queries(4):
        answer = admin_client.get(reverse("live-runs")).json()
    assert answer["count"] == live.LISTED + 2
    assert [run["id"] for run in answer["runs"]] == [run.pk for run in runs[: live.LISTED]]


def test_who_may_not_see_runs_sees_nothing(watcher: tuple[Client, User], alice: Caller) -> None:
    run = make_run(alice)
    client, user = watcher
    addresses = [reverse("live"), reverse("live-runs"), reverse("live-stop", args=(run.pk,))]
    for address in addresses:
        assert client.get(address).status_code == 403
        assert client.post(address).status_code == 403
    assert reverse("live") not in client.get("/admin/").content.decode()
    user.is_staff = False
    user.save()
    for address in addresses:
        assert client.get(address).status_code == 302
    client.logout()
    for address in addresses:
        assert client.get(address).status_code == 302
    assert not LiveRun.objects.exists()


def test_who_may_only_watch_reads_neither_code_nor_output_and_stops_nothing(
    watcher: tuple[Client, User], alice: Caller
) -> None:
    client, user = watcher
    grant(user, "view_execution")
    run = make_run(alice)
    publish(run, stdout="secret", stderr="secret", stdout_bytes=6, stderr_bytes=6)
    [row] = listed(client)
    assert row.keys().isdisjoint({"code", "stdout", "stderr", "stop"})
    page = client.get(reverse("live")).content.decode()
    assert "data-stop" not in page
    assert client.post(reverse("live-stop", args=(run.pk,))).status_code == 403
    assert not LiveRun.objects.asked_to_stop().exists()
    grant(user, "view_code")
    assert listed(client)[0].keys() & {"code", "stdout", "stderr"} == {"code"}
    grant(user, "view_output")
    assert listed(client)[0]["stdout"] == "secret"


def test_stopping_is_asked_for_once_and_logged(watcher: tuple[Client, User], alice: Caller) -> None:
    client, user = watcher
    grant(user, "view_execution", "stop_execution")
    run = make_run(alice)
    [row] = listed(client)
    assert client.get(row["stop"]).status_code == 405
    answer = client.post(row["stop"]).json()
    assert answer == {"stopping": True, "message": "It is being stopped."}
    assert listed(client)[0]["stopping"] is True
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id, entry.get_change_message()) == (user, run.pk, "Stopped.")
    since = LiveRun.objects.get().stop_requested_at
    assert client.post(row["stop"]).json()["stopping"] is True
    assert LiveRun.objects.get().stop_requested_at == since
    assert LogEntry.objects.count() == 1


def test_what_has_ended_is_not_stopped(admin_client: Client, alice: Caller) -> None:
    run = make_run(alice, status="succeeded")
    for pk in (run.pk, "nothing-of-this-name1"):
        answer = admin_client.post(reverse("live-stop", args=(pk,))).json()
        assert answer == {"stopping": False, "message": "It has ended already."}
    assert not LogEntry.objects.exists()
    assert not LiveRun.objects.exists()


def test_another_site_stops_nothing(alice: Caller) -> None:
    User.objects.create_superuser("admin", "", "correct horse")
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.get())
    run = make_run(alice)
    assert client.post(reverse("live-stop", args=(run.pk,))).status_code == 403
    assert not LiveRun.objects.exists()
