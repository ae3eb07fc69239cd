"""What each role may see and do, address by address."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse

from audit.admin.records import quoted
from audit.models import Execution
from keys.models import APIKey, Issuer
from sandbox import store
from tests.roles import ROLES, make_roles, staff
from tests.unit.audit.conftest import Make

pytestmark = pytest.mark.django_db

WHO = ("nobody", *ROLES, "superuser")
NEEDLE = "n33dle"

# Status by role, in the order of WHO. 302 is a page that sends on to where there is more.
TABLE: dict[str, tuple[int, int, int, int, int]] = {
    "GET /": (200, 200, 200, 200, 200),
    "GET audit_execution_changelist": (403, 200, 200, 200, 200),
    "GET audit_execution_change": (403, 200, 200, 200, 200),
    "GET audit_execution_history": (403, 403, 200, 200, 200),
    "GET audit_execution_add": (403, 403, 403, 403, 403),
    "POST audit_execution_change": (403, 403, 403, 403, 403),
    "POST audit_execution_delete": (403, 403, 403, 403, 403),
    "POST audit_execution_export csv": (403, 200, 200, 200, 200),
    "POST audit_execution_export jsonl": (403, 200, 200, 200, 200),
    "GET audit_sandboxsession_changelist": (403, 200, 200, 403, 200),
    "GET audit_sandboxsession_change": (403, 200, 200, 403, 200),
    "GET audit_sandboxsession_download": (403, 403, 200, 403, 200),
    "GET audit_sandboxsession_stop_run": (403, 403, 403, 403, 403),
    "GET audit_sandboxsession_expire_now": (403, 403, 200, 403, 200),
    "GET audit_sandboxsession_history": (403, 403, 200, 403, 200),
    "GET audit_sandboxfile_changelist": (403, 200, 200, 403, 200),
    "GET audit_sandboxfile_change": (403, 200, 200, 403, 200),
    "GET audit_sandboxfile_download": (403, 403, 200, 403, 200),
    "GET audit_sandboxcontainer_changelist": (403, 200, 200, 403, 200),
    "GET audit_sandboxcontainer_change": (403, 200, 200, 403, 200),
    "GET keys_apikey_changelist": (403, 200, 200, 200, 200),
    "GET keys_apikey_change": (403, 200, 200, 200, 200),
    "GET keys_apikey_history": (403, 403, 200, 200, 200),
    "GET keys_apikey_add": (403, 403, 403, 200, 200),
    "POST keys_apikey_change": (403, 403, 403, 200, 200),
    "GET keys_apikey_rotate": (403, 403, 403, 200, 200),
    "POST keys_apikey_rotate": (403, 403, 403, 200, 200),
    "GET keys_apikey_revoke": (403, 403, 403, 200, 200),
    "POST keys_apikey_revoke": (403, 403, 403, 200, 200),
    "GET keys_issuer_changelist": (403, 200, 200, 200, 200),
    "GET keys_issuer_change": (403, 200, 200, 200, 200),
    "GET keys_issuer_add": (403, 403, 403, 200, 200),
    "POST keys_issuer_change": (403, 403, 403, 200, 200),
    "GET keys_issuer_delete": (403, 403, 403, 200, 200),
    "GET admin_logentry_changelist": (403, 403, 200, 200, 200),
    "GET auth_user_changelist": (403, 403, 403, 403, 200),
    "GET auth_user_add": (403, 403, 403, 403, 200),
    "GET auth_group_changelist": (403, 403, 403, 403, 200),
}


def log_in(client: Client, role: str) -> User:
    make_roles()
    if role == "superuser":
        user = User.objects.create_superuser("root")
    else:
        user = staff("" if role == "nobody" else role)
    client.force_login(user)
    return user


@pytest.fixture
def run(make_run: Make, store_dir: Path) -> Execution:
    run = make_run(code=f"code = {NEEDLE}", stdout=f"out {NEEDLE}", stderr=f"err {NEEDLE}")
    Execution.objects.filter(pk=run.pk).update(args=[f"argument {NEEDLE}"])
    path = store_dir / run.files.get().store_key
    path.parent.mkdir(parents=True)
    path.write_bytes(b"bytes")
    Issuer.objects.create(name="Chat", iss="chat", aud="codeapi")
    return run


def content(response: Any) -> bytes:
    """All of it: the end of a stream is where what it holds is closed."""
    return b"".join(response.streaming_content) if response.streaming else response.content


def address(run: Execution, name: str, *parts: str) -> str:
    if name == "/":
        return reverse("admin:index")
    rows = {
        "execution": run,
        "sandboxsession": run.session,
        "sandboxfile": run.files.get(),
        "sandboxcontainer": run.container,
        "apikey": run.key,
        "issuer": Issuer.objects.get(),
    }
    _, model, page = name.split("_", 2)
    row = rows.get(model)
    if row is None or page in ("changelist", "add", "export"):
        return reverse(f"admin:{name}", args=parts)
    return reverse(f"admin:{name}", args=(quoted(row), *parts))


@pytest.mark.parametrize("role", WHO)
def test_what_each_role_gets(client: Client, run: Execution, role: str) -> None:
    log_in(client, role)
    answers = {}
    for asked in TABLE:
        method, name, *parts = asked.split()
        ask = client.get if method == "GET" else client.post
        response = ask(address(run, name, *parts))
        answers[asked] = response.status_code
        content(response)
    column = WHO.index(role)
    assert answers == {asked: statuses[column] for asked, statuses in TABLE.items()}


@pytest.mark.parametrize("role", ["viewer", "operator", "superuser"])
def test_who_may_read_reads(client: Client, run: Execution, role: str) -> None:
    log_in(client, role)
    text = client.get(address(run, "audit_execution_change")).content.decode()
    for part in (f"out {NEEDLE}", f"err {NEEDLE}", f"argument {NEEDLE}"):
        assert part in text
    assert "Copy</button>" in text
    assert client.get(address(run, "audit_execution_changelist")).content.decode().count(NEEDLE)


def test_a_key_manager_sees_that_programs_ran_and_nothing_of_them(
    client: Client, run: Execution
) -> None:
    log_in(client, "key manager")
    places = [
        address(run, "audit_execution_changelist"),
        address(run, "audit_execution_change"),
        address(run, "audit_execution_history"),
        address(run, "keys_apikey_change"),
    ]
    for place in places:
        text = client.get(place).content.decode()
        assert NEEDLE not in text
        assert "chart.png" not in text
        for model in ("sandboxsession", "sandboxcontainer", "sandboxfile"):
            assert f"/audit/{model}/" not in text
    assert "Your role does not show it." in client.get(places[1]).content.decode()
    for kind in ("csv", "jsonl"):
        response = client.post(address(run, "audit_execution_export", kind))
        assert NEEDLE.encode() not in content(response)


def test_the_log_tells_nobody_of_what_they_may_not_see(client: Client, run: Execution) -> None:
    log_in(client, "superuser")
    content(client.get(address(run, "audit_sandboxfile_download")))
    logged = LogEntry.objects.get().object_repr
    assert logged == run.files.get().name
    log = reverse("admin:admin_logentry_changelist")
    for role, is_seen in (("operator", True), ("key manager", False)):
        log_in(client, role)
        assert (logged in client.get(log).content.decode()) == is_seen
        found = client.get(log, {"q": logged}).content.decode()
        assert ("Downloaded." in found) == is_seen


def test_what_runs_now_leads_to_what_one_may_see(client: Client, run: Execution) -> None:
    Execution.objects.filter(pk=run.pk).update(status="running")
    for role, is_shown in (("viewer", True), ("key manager", False)):
        log_in(client, role)
        (shown,) = client.get(reverse("live-runs")).json()["runs"]
        assert ("session" in shown) == is_shown
        assert (quoted(run.session) in json.dumps(shown)) == is_shown


GUESSES = [
    {"message__icontains": "limit"},
    {"wall_ms": "1"},
    {"code__startswith": "code = n3"},
    {"code__contains": NEEDLE},
    {"stdout__contains": NEEDLE},
    {"stderr__regex": "err n.*"},
    {"args__icontains": NEEDLE},
    {"search_entry__code__contains": "1"},
    {"session__executions__code__contains": NEEDLE},
    {"files__name": "chart.png"},
    {"key__digest__startswith": "a"},
]


@pytest.mark.parametrize("guess", GUESSES, ids=lambda guess: next(iter(guess)))
def test_no_address_lets_guess_what_is_not_shown(
    client: Client, run: Execution, guess: dict[str, str]
) -> None:
    log_in(client, "key manager")
    place = address(run, "audit_execution_changelist")
    assert client.get(place, guess).status_code == 400
    export = address(run, "audit_execution_export", "csv")
    assert client.post(f"{export}?{urlencode(guess)}").status_code == 400


@pytest.mark.parametrize(
    ("place", "guess"),
    [
        ("keys_apikey_changelist", {"digest__startswith": "a"}),
        ("keys_apikey_changelist", {"executions__code__contains": NEEDLE}),
        ("keys_issuer_changelist", {"tenants__digest__startswith": "a"}),
        ("audit_sandboxsession_changelist", {"executions__stdout__contains": NEEDLE}),
        ("audit_sandboxcontainer_changelist", {"executions__code__contains": NEEDLE}),
        ("audit_sandboxfile_changelist", {"execution__code__contains": NEEDLE}),
    ],
)
def test_no_other_list_lets_guess_either(
    admin_client: Client, run: Execution, place: str, guess: dict[str, str]
) -> None:
    assert admin_client.get(address(run, place), guess).status_code == 400


@pytest.mark.parametrize("words", [NEEDLE, f"code = {NEEDLE}", f"err {NEEDLE}", "chart.png"])
def test_no_search_lets_guess_either(client: Client, run: Execution, words: str) -> None:
    place = address(run, "audit_execution_changelist")
    log_in(client, "viewer")
    row = address(run, "audit_execution_change")
    assert row in client.get(place, {"q": words}).content.decode()
    log_in(client, "key manager")
    text = client.get(place, {"q": words}).content.decode()
    assert row not in text
    assert "0 executions" in text


def test_the_ways_into_the_tables_are_those_of_the_role(client: Client, run: Execution) -> None:
    log_in(client, "key manager")
    text = client.get("/admin/").content.decode()
    assert 'href="/admin/keys/apikey/"' in text
    assert 'href="/admin/audit/sandboxsession/"' not in text
    assert 'href="/admin/auth/user/"' not in text


def test_permissions_are_one_by_one(client: Client, run: Execution) -> None:
    user = log_in(client, "viewer")
    group = Group.objects.get(name="viewer")
    group.permissions.remove(Permission.objects.get(codename="view_output"))
    text = client.get(address(run, "audit_execution_change")).content.decode()
    assert NEEDLE in text
    assert f"out {NEEDLE}" not in text
    user.user_permissions.add(Permission.objects.get(codename="download_sandboxfile"))
    # What a program wrote is its output.
    assert client.get(address(run, "audit_sandboxfile_download")).status_code == 403


def test_a_migrated_role_stays_as_its_operator_made_it() -> None:
    make_roles()
    viewer = Group.objects.get(name="viewer")
    viewer.permissions.clear()
    make_roles()
    assert not viewer.permissions.exists()
    assert Group.objects.filter(name__in=ROLES).count() == len(ROLES)


def test_the_roles_stay_without_their_migration() -> None:
    """They may have been there before, and people are in them."""
    make_roles()
    before = set(Group.objects.all())
    [operation] = import_module("audit.migrations.0012_roles").Migration.operations
    with connection.schema_editor(atomic=False) as editor:
        operation.reverse_code(apps, editor)
    assert set(Group.objects.all()) == before


def test_every_permission_of_a_role_is_one_that_django_made() -> None:
    """Under the same name: otherwise there would be two of it."""
    make_roles()
    roles = import_module("audit.migrations.0012_roles").ROLES
    for role, names in roles.items():
        held = Group.objects.get(name=role).permissions.select_related("content_type")
        assert {f"{each.content_type.app_label}.{each.codename}" for each in held} == set(names)
    for each in Permission.objects.select_related("content_type"):
        model = each.content_type.model_class()
        assert model is not None
        assert each.codename in {
            *(f"{action}_{model._meta.model_name}" for action in model._meta.default_permissions),
            *(codename for codename, _ in model._meta.permissions),
        }


def test_downloads_are_attachments_and_in_the_log(admin_client: Client, run: Execution) -> None:
    file = run.files.get()
    type(file).objects.filter(pk=file.pk).update(
        name='out/<b>"x"\r\n.html', content_type="text/html"
    )
    response = admin_client.get(address(run, "audit_sandboxfile_download"))
    assert content(response) == b"bytes"
    assert response["Content-Type"] == "application/octet-stream"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Disposition"].startswith("attachment; ")
    assert "\n" not in response["Content-Disposition"]
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.change_message) == (file.pk, "Downloaded.")


@pytest.mark.parametrize("how", ["lost", "deleted", "ended"])
def test_what_is_gone_is_not_downloaded(admin_client: Client, run: Execution, how: str) -> None:
    file, now = run.files.get(), run.created_at
    if how == "lost":
        store.delete_file(file.store_key)
    elif how == "deleted":
        type(file).objects.filter(pk=file.pk).update(deleted_at=now)
    else:
        type(run.session).objects.filter(pk=run.session_id).update(ended_at=now)
    response = admin_client.get(address(run, "audit_sandboxfile_download"), follow=True)
    assert "Nothing to download" in response.content.decode()
    assert not LogEntry.objects.exists()
    missing = reverse("admin:audit_sandboxfile_download", args=("x" * 21,))
    assert admin_client.get(missing).status_code == 404


def test_the_page_offers_what_can_be_downloaded(admin_client: Client, run: Execution) -> None:
    download = address(run, "audit_sandboxfile_download")
    for place in ("audit_execution_change", "audit_sandboxfile_change"):
        assert f'href="{download}"' in admin_client.get(address(run, place)).content.decode()
    run.files.update(deleted_at=run.created_at)
    for place in ("audit_execution_change", "audit_sandboxfile_change"):
        assert download not in admin_client.get(address(run, place)).content.decode()


def test_the_log_is_read_only(admin_client: Client, run: Execution) -> None:
    content(admin_client.get(address(run, "audit_sandboxfile_download")))
    entry = LogEntry.objects.get()
    place = reverse("admin:admin_logentry_changelist")
    assert "Downloaded." in admin_client.get(place).content.decode()
    page = reverse("admin:admin_logentry_change", args=(entry.pk,))
    assert admin_client.get(page).status_code == 200
    assert admin_client.post(page, {"change_message": "x"}).status_code == 403
    assert admin_client.post(page.replace("change", "delete"), {"post": "yes"}).status_code == 403
    assert admin_client.get(f"{place}add/").status_code == 403
    entry.refresh_from_db()
    assert entry.change_message == "Downloaded."


def test_a_secret_is_nowhere_for_who_only_views(client: Client, run: Execution) -> None:
    key, secret = APIKey.issue(name="Other")
    log_in(client, "viewer")
    for place in ("changelist", "change", "history"):
        args = () if place == "changelist" else (key.pk,)
        text = client.get(reverse(f"admin:keys_apikey_{place}", args=args)).content.decode()
        assert secret not in text
        assert key.digest not in text
