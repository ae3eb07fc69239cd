"""The playground answers what the API answers, to whom it may."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core import signing
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from audit.models import Execution, SandboxSession
from keys.models import APIKey, Issuer, KeyScope
from keys.models.api_key import CHECK
from sandbox.admin import shown
from tests.fakes.engine import FakeEngine
from tests.unit.api.librechat import LibreChat
from tests.unit.sandbox.test_live_page import grant

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fake")]
RUN, FILES = "/admin/playground/run/", "/admin/playground/files/"


@pytest.fixture
def key(db: None) -> APIKey:
    return APIKey.issue(name="Alice")[0]


def post(client: Client, key: APIKey | None, request: Any, user: str = "") -> Any:
    body = {"key": str(key.pk) if key else "", "user": user, "request": request}
    return client.post(RUN, json.dumps(body), content_type="application/json")


def put(client: Client, key: APIKey, name: str, content: bytes, user: str = "") -> Any:
    query = {"key": key.pk, "user": user, "name": name}
    return client.put(FILES, content, content_type="text/csv", query_params=query)


def read(answer: Any) -> bytes:
    return b"".join(answer)


def test_a_run_is_answered_as_the_api_answers_it(admin_client: Client, key: APIKey) -> None:
    request: dict[str, Any] = {
        "lang": "python3",
        "code": "import sys; print(*sys.argv[1:])",
        "args": ["a", "b c"],
    }
    body = post(admin_client, key, request, user="u1").json()
    of_api = LibreChat.named("Bob").run(**request)
    changing = {"session_id", "wall_time", "cpu_time", "memory"}
    assert body["answer"].keys() == of_api.keys()
    assert {k: v for k, v in body["answer"].items() if k not in changing} == {
        k: v for k, v in of_api.items() if k not in changing
    }
    assert (body["shown"], body["beside"]) == ("stdout:\na b c", "")
    run = Execution.objects.get(key=key)
    assert (run.user_id, run.client_address) == ("u1", "127.0.0.1")
    steps = [step for step, _ in body["steps"]]
    assert steps[:3] == ["auth", "parse", "session"]
    assert steps[-1] == "total"
    for address in (body["execution"], body["session"]):
        assert admin_client.get(address).status_code == 200
    # Whatever becomes of a run, it is known who has started it.
    before, after = LogEntry.objects.order_by("pk")
    assert {before.user.username, after.user.username} == {"admin"}
    assert (before.object_id, after.object_id) == (str(key.pk), run.pk)
    who = "in the playground, with the key Alice and user u1."
    assert before.get_change_message() == f"Runs a program {who}"
    assert after.get_change_message() == f"Run {who}"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"lang": "cobol", "code": ""}, 400),
        ({"lang": "py"}, 400),
        ({"lang": "py", "code": 1, "args": {}}, 400),
        ({"lang": "py", "code": "1", "timeout": -1}, 400),
        ([], 400),
        (None, 400),
    ],
)
def test_a_refusal_is_the_apis(
    admin_client: Client, key: APIKey, request_: Any, status: int
) -> None:
    answer = post(admin_client, key, request_)
    of_api = LibreChat.named("Bob").post("/exec", request_)
    assert answer.status_code == status
    if request_ is not None:
        assert of_api.status_code == status
        assert answer.json()["answer"] == of_api.json()
    assert "refused" in answer.json()["beside"]
    assert not Execution.objects.exists()


def test_an_engine_that_is_down_is_an_answer(
    admin_client: Client, key: APIKey, fake: FakeEngine
) -> None:
    fake.down = True
    answer = post(admin_client, key, {"lang": "py", "code": "1"})
    assert answer.status_code == 503
    assert answer.json()["answer"] == {"error": "Sandbox engine unavailable"}
    assert "at the moment" in answer.json()["beside"]
    fake.down = False


def test_only_keys_that_can_be_used_are_offered_and_taken(
    admin_client: Client, key: APIKey
) -> None:
    revoked = APIKey.issue(name="Old and revoked")[0]
    revoked.revoke()
    page = admin_client.get(reverse("playground")).content.decode()
    assert ("Alice" in page, "Old and revoked" in page) == (True, False)
    for wrong in (revoked, None):
        answer = post(admin_client, wrong, {"lang": "py", "code": "1"})
        assert answer.status_code == 400
        assert answer.json()["answer"] == {"error": "Choose a key that can be used"}
    key.revoke()
    assert "Issue one" in admin_client.get(reverse("playground")).content.decode()


def test_the_servers_own_keys_are_neither_offered_nor_taken(admin_client: Client) -> None:
    """They are for the health check, whose rows are deleted with them."""
    own = APIKey.objects.create(name="Health check", prefix=f"{CHECK}1")
    assert "Health check" not in admin_client.get(reverse("playground")).content.decode()
    assert post(admin_client, own, {"lang": "py", "code": "1"}).status_code == 400
    assert not Execution.objects.exists()


def test_a_key_does_not_get_beyond_its_scopes(admin_client: Client) -> None:
    for scope, other in ((KeyScope.FILES, KeyScope.EXEC), (KeyScope.EXEC, KeyScope.FILES)):
        key, _ = APIKey.issue(name=f"Only {scope}", scopes=[scope])
        ran = post(admin_client, key, {"lang": "py", "code": "1"})
        uploaded = put(admin_client, key, "a.csv", b"1")
        refused, allowed = (ran, uploaded) if scope == KeyScope.FILES else (uploaded, ran)
        assert (refused.status_code, allowed.status_code) == (403, 200)
        assert f"This needs the scope {other}" in refused.json()["answer"]["message"]


def test_a_tenants_call_is_one_users(admin_client: Client) -> None:
    issuer = Issuer.objects.create(name="Chat", public_keys="")
    tenant = APIKey.objects.for_tenant(issuer, "acme")
    answer = post(admin_client, tenant, {"lang": "py", "code": "1"})
    assert answer.status_code == 400
    assert "Name a user" in answer.json()["answer"]["error"]


def test_a_tenants_users_do_not_see_each_others_sessions(admin_client: Client) -> None:
    issuer = Issuer.objects.create(name="Chat", public_keys="")
    tenant = APIKey.objects.for_tenant(issuer, "acme")
    request = {"lang": "py", "code": "open('a', 'w').write('1')"}
    first = post(admin_client, tenant, request, user="ann").json()["answer"]
    ref = {key: first["files"][0][key] for key in ("id", "name", "storage_session_id")}
    again = {"lang": "bash", "code": "cat a", "files": [ref]}
    assert post(admin_client, tenant, again, user="ann").json()["shown"] == "stdout:\n1"
    assert "No such file" in post(admin_client, tenant, again, user="ben").json()["shown"]


def test_files_go_in_and_come_out(admin_client: Client, key: APIKey, store_dir: Path) -> None:
    uploaded = put(admin_client, key, "data.csv", b"a,b\n1,2\n", user="u1").json()["answer"]
    assert uploaded["name"] == "data.csv"
    assert SandboxSession.objects.get(pk=uploaded["storage_session_id"]).user_id == "u1"
    code = "print(open('data.csv').read()); open('größe.svg', 'w').write('<script>')"
    request = {"lang": "py", "code": code, "files": [uploaded]}
    body = post(admin_client, key, request, user="u1").json()
    assert body["beside"].startswith("LibreChat adds that the run has made 1 file,")
    names = {file["name"]: file for file in body["answer"]["files"]}
    assert names["data.csv"]["inherited"] is True
    given = admin_client.get(body["links"][names["data.csv"]["id"]])
    assert read(given) == b"a,b\n1,2\n"
    written = admin_client.get(body["links"][names["größe.svg"]["id"]])
    assert read(written) == b"<script>"
    # As any download it is no page.
    assert written["Content-Type"] == "application/octet-stream"
    assert written["Content-Disposition"].startswith("attachment;")


def test_a_link_is_good_for_whom_it_was_made(admin_client: Client, key: APIKey) -> None:
    request = {"lang": "py", "code": "open('a', 'w').write('1')"}
    body = post(admin_client, key, request).json()
    [link] = body["links"].values()
    User.objects.create_superuser("other", "", "x")
    other = Client()
    other.force_login(User.objects.get(username="other"))
    file_id = body["answer"]["files"][0]["id"]
    made_up = signing.dumps(file_id, salt="playground file of 0")
    for address in (link, f"{FILES}{made_up}/", f"{FILES}{file_id}/"):
        assert other.get(address).status_code == 404
    assert read(admin_client.get(link)) == b"1"
    SandboxSession.objects.update(ended_at="2020-01-01T00:00Z")
    assert admin_client.get(link).status_code == 404


def test_an_upload_over_the_limit_leaves_nothing(
    admin_client: Client, key: APIKey, settings: Settings, store_dir: Path
) -> None:
    settings.SANDBOX_UPLOAD_MB = 1
    answer = put(admin_client, key, "large", bytes(1024 * 1024 + 1))
    assert answer.status_code == 413
    assert answer.json()["answer"] == {"error": "File size limit exceeded"}
    assert [path for path in store_dir.rglob("*") if path.is_file()] == []
    assert put(admin_client, key, "fits", bytes(1024 * 1024)).status_code == 200


def test_a_name_becomes_one_that_a_workspace_can_hold(admin_client: Client, key: APIKey) -> None:
    for given, kept in (("../../etc/passwd", "etc/passwd"), ("a\\b\x00c", "a_b_c"), ("", "file")):
        assert put(admin_client, key, given, b"1").json()["answer"]["name"] == kept


def test_a_kept_session_goes_on(admin_client: Client, key: APIKey) -> None:
    hint = {"runtime_session_hint": "playground-1"}
    first = {"lang": "py", "code": "open('a', 'w').write('kept')"} | hint
    post(admin_client, key, first)
    body = post(admin_client, key, {"lang": "bash", "code": "cat a"} | hint).json()
    assert body["shown"] == "stdout:\nkept"
    assert body["answer"]["runtime_status"] == "reused"


def test_who_may_not_play_runs_nothing(client: Client, key: APIKey) -> None:
    request = {"lang": "py", "code": "print(1)"}
    assert client.get(reverse("playground")).status_code == 302
    assert post(client, key, request).status_code == 403
    assert put(client, key, "a", b"1").status_code == 403
    user = User.objects.create_user("viewer", is_staff=True)
    grant(user, "view_execution", "view_output")
    client.force_login(user)
    assert client.get(reverse("playground")).status_code == 403
    assert reverse("playground") not in client.get("/admin/").content.decode()
    assert post(client, key, request).status_code == 403
    assert put(client, key, "a", b"1").status_code == 403
    assert client.get(f"{FILES}x/").status_code == 403
    grant(user, "use_playground")
    assert post(client, key, request).status_code == 200
    user.is_staff = False
    user.save()
    assert post(client, key, request).status_code == 403
    assert Execution.objects.count() == 1


def test_another_site_runs_nothing(key: APIKey) -> None:
    User.objects.create_superuser("admin", "", "x")
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.get())
    assert post(client, key, {"lang": "py", "code": "1"}).status_code == 403
    assert put(client, key, "a", b"1").status_code == 403
    assert not SandboxSession.objects.exists()


def test_a_large_form_of_the_admin_is_still_refused(admin_client: Client, key: APIKey) -> None:
    request = {"lang": "py", "code": "#" * (3 * 1024 * 1024)}
    assert post(admin_client, key, request).status_code == 400
    assert not Execution.objects.exists()


@pytest.mark.parametrize(
    ("status", "word"), [(429, "too many"), (401, "may not"), (422, "refused"), (500, "moment")]
)
def test_what_libre_chat_words_itself_is_described(status: int, word: str) -> None:
    assert word in shown.beside(status, {"error": "x"})
