"""Whose a call is: a key's, or a tenant's of an issuer, and then a proven user's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import resolve
from pytest_django import Settings

from audit.ids import new_id
from audit.models import Execution, SandboxSession
from keys.models import APIKey, Issuer, KeyScope
from sandbox.api import urls
from tests.fakes.engine import FakeEngine
from tests.tokens import ALICE, BOB, Signer
from tests.unit.api.librechat import LibreChat, new_ref, old_ref

MALLORY = "65f0c0ffee0123456789a0a7"


@dataclass
class SigningLibreChat(LibreChat):
    """Signs each of its calls, for one user."""

    signer: Signer | None = None
    user: str = ALICE
    tenant: str = "legacy"

    @property
    def headers(self) -> dict[str, str]:
        assert self.signer is not None
        token = self.signer.mint(self.user, tenant_id=self.tenant)
        return {"Authorization": f"Bearer {token}", "User-Agent": "LibreChat/1.0"}


@dataclass
class Installation:
    signer: Signer

    def user(self, user: str, tenant: str = "legacy") -> SigningLibreChat:
        return SigningLibreChat(APIKey(), "", signer=self.signer, user=user, tenant=tenant)


@pytest.fixture
def chat(db: None, fake: FakeEngine) -> Installation:
    signer = Signer()
    Issuer.objects.create(name="Chat", public_keys=signer.pem)
    return Installation(signer)


@pytest.fixture
def ann(chat: Installation) -> SigningLibreChat:
    return chat.user(ALICE)


def owner(session_id: str) -> tuple[str, str]:
    session = SandboxSession.objects.select_related("key").get(pk=session_id)
    return session.key.name, session.user_id


def reachable(client: LibreChat, answer: dict[str, Any], **query: Any) -> set[str]:
    """In which ways the first file of an answer can be had; a run that shows it is one."""
    answer = {"storage_session_id": answer["session_id"]} | answer
    file = answer["files"][0]
    session, place = answer["session_id"], f"{answer['session_id']}/{file['id']}"
    calls = {
        "download": client.get(f"/download/{place}", **query),
        "list": client.get(f"/files/{session}", detail="summary", **query),
        "metadata": client.get(f"/sessions/{session}/objects/{file['id']}", **query),
    }
    found = {name for name, response in calls.items() if response.status_code == 200}
    assert {response.status_code for response in calls.values()} <= {200, 404}
    for ref in (old_ref(answer), new_ref(answer), new_ref(answer, resource_id=file["id"])):
        ref |= {"name": "wanted.txt"}
        if "bytes of" in client.run("cat wanted.txt", "bash", files=[ref])["stdout"]:
            found.add("run")
    for hidden in ({"session_id": session}, {"runtime_session_hint": "the-hint"}):
        if "bytes of" in client.run("cat *.txt", "bash", **hidden)["stdout"]:
            found.add("continue")
    return found


def test_a_run_is_its_tenants_and_its_proven_users(ann: SigningLibreChat) -> None:
    """Whatever the body and the header say."""
    answer = ann.post(
        "/exec",
        {"lang": "py", "code": "open('o.txt', 'w').write('x')", "user_id": MALLORY},
        headers={"User-Id": MALLORY},
    ).json()
    assert owner(answer["session_id"]) == ("Chat: tenant legacy", ALICE)
    run = Execution.objects.get()
    assert (run.key.name, run.user_id) == ("Chat: tenant legacy", ALICE)
    assert answer["files"][0]["resource_id"] == ALICE


@pytest.mark.parametrize("path", ["/upload", "/upload/batch"])
def test_an_upload_is_its_tenants_and_its_proven_users(ann: SigningLibreChat, path: str) -> None:
    response = ann.post_form(path, ("a.txt", b"x"), kind="user", id=MALLORY)
    answer = response.json()
    assert owner(answer["storage_session_id"]) == ("Chat: tenant legacy", ALICE)


def test_each_route_with_a_key_knows_the_user_it_is_told(alice: LibreChat) -> None:
    told = {
        "body": alice.run("1", user_id="u-body"),
        "header": alice.post(
            "/exec", {"lang": "py", "code": "1"}, headers={"User-Id": "u-header"}
        ).json(),
        "both": alice.post(
            "/exec",
            {"lang": "py", "code": "1", "user_id": "u-body"},
            headers={"User-Id": "u-header"},
        ).json(),
        "nobody": alice.run("1"),
    }
    users = {name: owner(answer["session_id"])[1] for name, answer in told.items()}
    assert users == {"body": "u-body", "header": "u-header", "both": "u-header", "nobody": ""}
    runs = set(Execution.objects.values_list("user_id", flat=True))
    assert runs == {"u-body", "u-header", ""}
    # With the header, which LibreChat always sends here; and by kind and id alone.
    assert owner(alice.upload(("a", b"x"), kind="user", id="u9")["session_id"])[1] == "u1"
    bare = alice.post_form("/upload", ("a", b"x"), kind="user", id="u9")
    assert owner(bare.json()["session_id"])[1] == "u1"


def test_nothing_is_hidden_from_the_one_who_made_it(ann: SigningLibreChat) -> None:
    uploaded = ann.upload(("mine.txt", b"bytes of ann"), kind="user", id=ALICE)
    assert reachable(ann, uploaded) == {"download", "list", "metadata", "run"}
    made = ann.run("open('made.txt', 'w').write('bytes of ann')")
    assert reachable(ann, made) == {"download", "list", "metadata", "run", "continue"}
    # The id that LibreChat names is not looked at: the token's user is who it is.
    assert reachable(ann, made, kind="user", id=MALLORY) >= {"download", "list", "metadata"}


def strangers(chat: Installation) -> dict[str, LibreChat]:
    other = Signer()
    Issuer.objects.create(name="Other chat", public_keys=other.pem)
    return {
        "another user": chat.user(BOB),
        "the same user of another tenant": chat.user(ALICE, "acme"),
        "the same user and tenant of another issuer": Installation(other).user(ALICE),
        "a key": LibreChat.named("Alice"),
    }


STRANGERS = (
    "another user",
    "the same user of another tenant",
    "the same user and tenant of another issuer",
    "a key",
)


@pytest.mark.parametrize("name", STRANGERS)
def test_what_one_has_is_hidden_from(chat: Installation, name: str) -> None:
    ann, stranger = chat.user(ALICE), strangers(chat)[name]
    uploaded = ann.upload(("mine.txt", b"bytes of ann"), kind="user", id=ALICE)
    made = ann.run("open('made.txt', 'w').write('bytes of ann')", runtime_session_hint="the-hint")
    for answer in (uploaded, made):
        for query in ({}, {"kind": "user", "id": ALICE}):
            assert reachable(stranger, answer, **query) == set()
        place = f"{answer['session_id']}/{answer['files'][0]['id']}"
        assert stranger.delete(f"/files/{place}").status_code == 404
        assert ann.get(f"/download/{place}").status_code == 200


@pytest.mark.parametrize("name", STRANGERS[1:3])
def test_what_a_key_has_is_hidden_from_a_tenant(
    chat: Installation, alice: LibreChat, name: str
) -> None:
    uploaded = alice.upload(("mine.txt", b"bytes of alice"))
    made = alice.run("open('made.txt', 'w').write('bytes of alice')", user_id=ALICE)
    for answer in (uploaded, made):
        assert reachable(strangers(chat)[name], answer) == set()


@pytest.mark.parametrize(
    "scope",
    [
        {"kind": "agent", "id": "agent_1"},
        {"kind": "skill", "id": "skill_1", "version": "3"},
    ],
)
def test_agents_and_skills_are_their_tenants(chat: Installation, scope: dict[str, str]) -> None:
    ann, bob = chat.user(ALICE), chat.user(BOB)
    uploaded = ann.upload(("shared.txt", b"bytes of all"), **scope)
    assert reachable(bob, uploaded, **scope) == {"download", "list", "metadata", "run"}
    version = {"version": int(scope["version"])} if "version" in scope else {}
    ref = new_ref(uploaded, kind=scope["kind"], resource_id=scope["id"], **version)
    # By its name too, where the ref is stale.
    stale = ref | {"id": new_id(), "name": "shared.txt"}
    for given in (ref, stale):
        answer = bob.run("cat shared.txt > out.txt; cat out.txt", "bash", files=[given])
        assert answer["stdout"] == "bytes of all"
        # What a run with it made is the user's own.
        made = {"session_id": answer["session_id"], "files": [answer["files"][0]]}
        assert reachable(ann, made) == set()
    assert reachable(chat.user(BOB, "acme"), uploaded, **scope) == set()


def test_a_stale_ref_finds_no_other_users_file_of_its_name(chat: Installation) -> None:
    chat.user(ALICE).upload(("data.txt", b"bytes of ann"), kind="user", id=ALICE)
    ref = {"id": new_id(), "storage_session_id": new_id(), "kind": "user", "resource_id": ALICE}
    answer = chat.user(BOB).run("cat data.txt", "bash", files=[ref | {"name": "data.txt"}])
    assert "bytes of" not in answer["stdout"]
    again = chat.user(ALICE).run("cat data.txt", "bash", files=[ref | {"name": "data.txt"}])
    assert again["stdout"] == "bytes of ann"


def test_hints_are_each_users_own(chat: Installation) -> None:
    who = [(ALICE, "legacy"), (BOB, "legacy"), (ALICE, "acme")]
    sessions = [chat.user(*one).run("1", runtime_session_hint="same")["session_id"] for one in who]
    assert len(set(sessions)) == 3
    again = chat.user(*who[0]).run("1", runtime_session_hint="same")
    assert again["session_id"] == sessions[0]


def test_the_issuer_of_the_environment_runs_code(
    settings: Settings, db: None, fake: FakeEngine
) -> None:
    signer = Signer.rsa()
    settings.CODEAPI_JWT_PUBLIC_KEY = signer.pem
    answer = Installation(signer).user(ALICE).run("print(1)")
    assert owner(answer["session_id"]) == ("LibreChat: tenant legacy", ALICE)


def test_an_issuers_limits_are_its_tenants(chat: Installation) -> None:
    Issuer.objects.update(output_bytes=1024)
    answer = chat.user(ALICE).run("print('x' * 5000)")
    assert answer["status"] == "OL"
    assert len(answer["stdout"]) <= 1024


def test_a_run_with_a_token_asks_the_database_no_more_than_with_a_key(
    chat: Installation, alice: LibreChat
) -> None:
    counted = []
    for client in (alice, chat.user(ALICE)):
        session = client.run("1")["session_id"]
        client.run("1", session_id=session)
        with CaptureQueriesContext(connection) as queries:
            client.run("1", session_id=session)
        counted.append(len(queries))
    assert counted[0] == counted[1]


ROUTES = {
    "exec": ("POST", "/exec"),
    "exec/programmatic": ("POST", "/exec/programmatic"),
    "exec/programmatic/cancel": ("POST", "/exec/programmatic/cancel"),
    "upload": ("POST", "/upload"),
    "upload/batch": ("POST", "/upload/batch"),
    "download/<session_id>/<file_id>": ("GET", f"/download/{new_id()}/{new_id()}"),
    "files/<session_id>": ("GET", f"/files/{new_id()}"),
    "files/<session_id>/<file_id>": ("DELETE", f"/files/{new_id()}/{new_id()}"),
    "sessions/<session_id>/objects/<file_id>": (
        "DELETE",
        f"/sessions/{new_id()}/objects/{new_id()}",
    ),
}


@pytest.mark.parametrize("route", [str(entry.pattern) for entry in urls.urlpatterns])
def test_every_route_is_of_a_scope(db: None, route: str) -> None:
    if route.startswith("health"):
        assert Client().get(f"/{route}").status_code in (200, 503)
        return
    method, path = ROUTES[route]
    view = resolve(path).func.cls  # type: ignore[attr-defined]
    assert view.scope in KeyScope
    for scope in KeyScope:
        _, secret = APIKey.issue(name="Half", scopes=[scope])
        response = Client().generic(method, path, headers={"X-API-Key": secret})
        assert (response.status_code == 403) == (scope != view.scope)
        if scope != view.scope:
            body = response.json()
            assert body["error"] == "Not in the scope of this key"
            assert (
                f"needs the scope {view.scope.value}; the key or token has {scope.value}."
                in (body["message"])
            )


def test_an_issuer_has_scopes(chat: Installation) -> None:
    Issuer.objects.update(scopes=[KeyScope.EXEC])
    assert chat.user(ALICE).exec("1").status_code == 200
    assert chat.user(ALICE).get(f"/files/{new_id()}").status_code == 403
