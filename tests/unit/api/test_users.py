"""In whichever way a call tells the LibreChat user, its session and its execution say it."""

from __future__ import annotations

from typing import Any

import pytest

from audit.models import Execution, SandboxSession
from keys.models import Issuer
from tests.fakes.engine import FakeEngine
from tests.tokens import Signer
from tests.unit.api.librechat import FORM, LibreChat, Ref, form_data, new_ref

USER = "65f0c0ffee0123456789abcd"
OTHER = "65f0c0ffee0123456789a0a7"


def users(session_id: str) -> tuple[str, str]:
    """Of the session, and of its newest run."""
    run = Execution.objects.filter(session=session_id).latest("created_at")
    return SandboxSession.objects.get(pk=session_id).user_id, run.user_id


def uploaded_to(client: LibreChat, **fields: str) -> str:
    """The user of an upload's session; by its form alone."""
    body = form_data(("a.txt", b"x"), fields=fields)
    answer = client.post("/upload", body, content_type=FORM).json()
    return SandboxSession.objects.get(pk=answer["session_id"]).user_id


@pytest.fixture
def file_of_user(alice: LibreChat) -> Ref:
    return new_ref(alice.upload(("a.txt", b"x")), resource_id=USER)


def test_by_a_token(db: None, fake: FakeEngine) -> None:
    signer = Signer()
    Issuer.objects.create(name="Chat", public_keys=signer.pem)
    headers = {"Authorization": f"Bearer {signer.mint(USER)}"}
    stranger = LibreChat.named("Nobody")
    stranger.secret = ""
    answer = stranger.post("/exec", {"lang": "py", "code": "1"}, headers=headers).json()
    assert users(answer["session_id"]) == (USER, USER)


def test_by_a_header(alice: LibreChat) -> None:
    answer = alice.post("/exec", {"lang": "py", "code": "1"}, headers={"User-Id": USER}).json()
    assert users(answer["session_id"]) == (USER, USER)
    body = form_data(("a.txt", b"x"), fields={})
    answer = alice.post("/upload", body, content_type=FORM, headers={"User-Id": USER}).json()
    assert SandboxSession.objects.get(pk=answer["session_id"]).user_id == USER


def test_by_the_body(alice: LibreChat) -> None:
    assert users(alice.run("1", user_id=USER)["session_id"]) == (USER, USER)


def test_by_an_uploads_form(alice: LibreChat) -> None:
    assert uploaded_to(alice, kind="user", id=USER) == USER
    assert uploaded_to(alice, kind="agent", id="agent_1") == ""


def test_by_a_files_reference(alice: LibreChat, file_of_user: Ref) -> None:
    answer = alice.run("open('b.txt', 'w').write('y')", files=[file_of_user])
    assert users(answer["session_id"]) == (USER, USER)
    # And so the next turn's reference tells it as well.
    [made] = [file for file in answer["files"] if file["name"] == "b.txt"]
    assert (made["kind"], made["resource_id"]) == ("user", USER)


def test_what_is_said_outright_counts_more_than_a_files_reference(
    alice: LibreChat, file_of_user: Ref
) -> None:
    answer = alice.run("1", files=[file_of_user], user_id=OTHER)
    assert users(answer["session_id"]) == (OTHER, OTHER)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "agent", "resource_id": "agent_1"},
        {"kind": "skill", "resource_id": "skill_1", "version": 1},
        {"resource_id": None},
    ],
)
def test_other_references_tell_no_user(
    alice: LibreChat, file_of_user: Ref, changes: dict[str, Any]
) -> None:
    answer = alice.run("1", files=[file_of_user | changes])
    assert users(answer["session_id"]) == ("", "")


def test_a_files_own_id_is_no_user(alice: LibreChat, file_of_user: Ref) -> None:
    """LibreChat fills it in for what a run has just written."""
    answer = alice.run("1", files=[file_of_user | {"resource_id": file_of_user["id"]}])
    assert users(answer["session_id"]) == ("", "")


def test_files_of_two_users_tell_none(alice: LibreChat, file_of_user: Ref) -> None:
    other = file_of_user | {"resource_id": OTHER, "name": "b.txt"}
    answer = alice.run("1", files=[file_of_user, other])
    assert users(answer["session_id"]) == ("", "")


def test_a_run_that_tells_no_user_is_its_sessions(alice: LibreChat) -> None:
    session = alice.run("1", user_id=USER)["session_id"]
    alice.run("2", session_id=session)
    assert users(session) == (USER, USER)
    assert set(Execution.objects.values_list("user_id", flat=True)) == {USER}


def test_a_hint_finds_its_session_with_and_without_files(
    alice: LibreChat, file_of_user: Ref
) -> None:
    """The reference tells whose the run is, but not whose the session: it comes and goes."""
    first = alice.run("open('b.txt', 'w').write('y')", runtime_session_hint="same")
    second = alice.run("print(1)", runtime_session_hint="same", files=[file_of_user])
    assert users(second["session_id"]) == ("", USER)
    third = alice.run("print(open('b.txt').read())", runtime_session_hint="same")
    assert first["session_id"] == second["session_id"] == third["session_id"]
    assert third["stdout"] == "y\n"


def test_a_files_reference_hides_and_shows_nothing(alice: LibreChat, file_of_user: Ref) -> None:
    """It is a hint to who it was, not to whose things are."""
    made = alice.run("open('b.txt', 'w').write('y')", files=[file_of_user])
    again = alice.run("print(open('b.txt').read())", session_id=made["session_id"])
    assert again["stdout"] == "y\n"
    for query in ({}, {"kind": "user", "id": OTHER}):
        assert alice.get(f"/files/{made['session_id']}", **query).status_code == 200
