"""Nobody sees, changes or even finds what another key owns, by whichever route.

A foreign reference is answered as one to nothing is: the same bytes after the same queries, and it
leaves no trace with its owner. The cases are compared with the URL patterns, so that a new route
without any fails here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern

from audit.ids import new_id
from audit.models import Execution, SandboxContainer, SandboxFile, SandboxInput, SandboxSession
from keys.models import APIKey
from sandbox.api.urls import urlpatterns
from tests.unit.api.librechat import FORM, LibreChat, form_data, new_ref, old_ref

SKILL = {"kind": "skill", "id": "s1", "version": "2"}
AGENT = {"kind": "agent", "id": "a1"}
SECRET = "of Alice alone"
# Tells whatever a workspace holds of it. The program itself may be a file there, too.
LOOK = (
    "import os; texts = [open(f).read() for f in sorted(os.listdir()) if os.path.isfile(f)];"
    "print([text for text in texts if text.startswith('of')])"
)
METHODS = ("get", "head", "post", "put", "patch", "delete", "trace")


@dataclass
class Owned:
    """Everything that can be referred to, of one key; each with a file."""

    hint: str = field(default_factory=new_id)
    sessions: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def keep(self, name: str, answer: dict[str, Any]) -> None:
        self.sessions[name] = answer["session_id"]
        self.files[name] = answer["files"][0]["id"]

    def ref(self, name: str) -> dict[str, Any]:
        return {"session_id": self.sessions[name], "files": [{"id": self.files[name]}]}


def make(owner: LibreChat) -> Owned:
    owned = Owned()
    text = f"of {owner.key.name} alone"
    content = text.encode()
    uploaded = owner.upload(("shared.txt", content), entity_id="agent_1")
    owned.keep("upload", uploaded)
    owned.keep("skill", owner.upload(("skill.md", content), **SKILL))
    owned.keep("agent", owner.upload(("agent.md", content), **AGENT))
    write = f"open('out.txt', 'w').write({text!r})"
    ran = owner.run(write, files=[old_ref(uploaded)], user_id="u1")
    owned.keep("run", ran)
    owned.sessions["input"], owned.files["input"] = ran["session_id"], owned.files["upload"]
    owned.keep("hinted", owner.run(write, runtime_session_hint=owned.hint, user_id="u1"))
    again = owner.run(f"open('out.txt', 'w').write({text!r} * 2)", session_id=owned.sessions["run"])
    # The first version is still readable under its id.
    assert again["session_id"] == owned.sessions["run"]
    return owned


KINDS = ("upload", "skill", "agent", "run", "input", "hinted")


@pytest.fixture
def hers(alice: LibreChat) -> Owned:
    return make(alice)


@pytest.fixture
def nobodys() -> Owned:
    owned = Owned()
    for kind in KINDS:
        owned.sessions[kind], owned.files[kind] = new_id(), new_id()
    return owned


def data_of(owner: APIKey) -> list[Any]:
    """Every column of every row, so expiry and last use as well."""
    rows: list[Any] = list(APIKey.objects.filter(pk=owner.pk).values())
    for model, key in (
        (SandboxSession, "key"),
        (SandboxFile, "session__key"),
        (SandboxInput, "session__key"),
        (Execution, "key"),
        (SandboxContainer, "session__key"),
    ):
        rows += model._default_manager.filter(**{key: owner}).order_by("pk").values()
    return rows


def bytes_in(store: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}


# --- the cases ---

Call = Callable[[LibreChat, Owned, Owned], Any]
Case = dict[str, Call]


def by_path(method: str, path: str, **query: str) -> Case:
    """Every kind of what the other owns, alone and crossed with what the caller owns."""
    cases: Case = {}
    with_file = "{file}" in path

    def call(session: Callable[[Owned, Owned], str], file: Callable[[Owned, Owned], str]) -> Call:
        def ask(caller: LibreChat, theirs: Owned, own: Owned) -> Any:
            names = {"session": session(theirs, own), "file": file(theirs, own)}
            separator = "&" if "?" in path else "?"
            asked = "&".join(f"{name}={value}" for name, value in query.items())
            return caller.call(method, path.format(**names) + (asked and separator + asked))

        return ask

    for kind in KINDS:
        cases[f"their {kind}"] = call(
            lambda theirs, own, kind=kind: theirs.sessions[kind],  # type: ignore[misc]
            lambda theirs, own, kind=kind: theirs.files[kind],  # type: ignore[misc]
        )
        if with_file:
            cases[f"their {kind}'s file in my session"] = call(
                lambda theirs, own: own.sessions["run"],
                lambda theirs, own, kind=kind: theirs.files[kind],  # type: ignore[misc]
            )
            cases[f"my file in their {kind}"] = call(
                lambda theirs, own, kind=kind: theirs.sessions[kind],  # type: ignore[misc]
                lambda theirs, own: own.files["run"],
            )
    return cases


def with_scopes(method: str, path: str) -> Case:
    return {
        f"{name}, as {scope.get('kind', 'nobody')}": call
        for scope in ({}, SKILL, AGENT, {"kind": "user", "id": "u1"})
        for name, call in by_path(method, path, **scope).items()
    }


def run_with(fields: Callable[[Owned], dict[str, Any]]) -> Call:
    return lambda caller, theirs, own: caller.exec(LOOK, **fields(theirs))


def exec_cases() -> Case:
    cases: Case = {"hint": run_with(lambda theirs: {"runtime_session_hint": theirs.hint})}
    cases["hint and user"] = run_with(
        lambda theirs: {"runtime_session_hint": theirs.hint, "user_id": "u1"}
    )
    for kind in KINDS:
        # Loop variables are bound as they are now.
        cases[f"session of {kind}"] = run_with(
            lambda theirs, kind=kind: {"session_id": theirs.sessions[kind], "user_id": "u1"}  # type: ignore[misc]
        )
        for name, ref in (("old", old_ref), ("new", new_ref)):
            cases[f"{name} ref to {kind}"] = run_with(
                lambda theirs, kind=kind, ref=ref: {  # type: ignore[misc]
                    "files": [
                        ref(
                            {**theirs.ref(kind), "storage_session_id": theirs.sessions[kind]}
                            | {"files": [{"id": theirs.files[kind], "name": "shared.txt"}]}
                        )
                    ],
                    "user_id": "u1",
                    "entity_id": "agent_1",
                }
            )
    for name, scope in (("skill", "s1"), ("agent", "a1")):
        cases[f"name of a {name}"] = run_with(
            lambda theirs, name=name, scope=scope: {  # type: ignore[misc]
                "files": [
                    {
                        "id": theirs.files[name],
                        "storage_session_id": theirs.sessions[name],
                        "kind": name,
                        "resource_id": scope,
                        "name": f"{name}.md",
                    }
                ]
            }
        )
    return cases


def upload_cases(path: str) -> Case:
    def call(fields: dict[str, str]) -> Call:
        body = form_data(("shared.txt", b"Bob's"), fields=fields)
        return lambda caller, theirs, own: caller.post(
            path, body, content_type=FORM, headers={"User-Id": "u1"}
        )

    return {
        "entity": call({"entity_id": "agent_1"}),
        "skill": call(SKILL),
        "agent": call(AGENT),
    }


def posted(path: str, *names: str) -> Case:
    def call(name: str, kind: str) -> Call:
        return lambda caller, theirs, own: caller.post(path, {name: theirs.sessions[kind]})

    return {f"{name} of {kind}": call(name, kind) for name in names for kind in KINDS}


# Of every route and method. Without a case: nothing can be referred to.
CASES: dict[tuple[str, str], Case] = {
    ("get", "health"): {},
    ("head", "health"): {},
    ("get", "health/ready"): {},
    ("head", "health/ready"): {},
    ("post", "exec"): exec_cases(),
    ("post", "exec/programmatic"): posted("/exec/programmatic", "session_id", "continuation_token"),
    ("post", "exec/programmatic/cancel"): posted("/exec/programmatic/cancel", "request_id"),
    ("post", "upload"): upload_cases("/upload"),
    ("post", "upload/batch"): upload_cases("/upload/batch"),
    ("get", "download/<session_id>/<file_id>"): with_scopes("GET", "/download/{session}/{file}"),
    ("head", "download/<session_id>/<file_id>"): with_scopes("HEAD", "/download/{session}/{file}"),
    ("get", "files/<session_id>"): {
        f"{detail}: {name}": call
        for detail in ("simple", "summary", "full", "normalized")
        for name, call in with_scopes("GET", f"/files/{{session}}?detail={detail}").items()
    },
    ("head", "files/<session_id>"): with_scopes("HEAD", "/files/{session}"),
    ("delete", "files/<session_id>/<file_id>"): with_scopes("DELETE", "/files/{session}/{file}"),
    ("get", "sessions/<session_id>/objects/<file_id>"): with_scopes(
        "GET", "/sessions/{session}/objects/{file}"
    ),
    ("head", "sessions/<session_id>/objects/<file_id>"): with_scopes(
        "HEAD", "/sessions/{session}/objects/{file}"
    ),
    ("delete", "sessions/<session_id>/objects/<file_id>"): with_scopes(
        "DELETE", "/sessions/{session}/objects/{file}"
    ),
}
REFERRING_PATHS = [key for key in CASES if "<" in key[1]]
OTHERS = [key for key in CASES if "<" not in key[1]]


def routes() -> Iterator[tuple[str, str]]:
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern), "an include would hide routes from this"
        view = pattern.callback.cls  # type: ignore[attr-defined]
        for method in METHODS:
            # Django answers HEAD as GET where nothing else does.
            if hasattr(view, method) or (method == "head" and hasattr(view, "get")):
                yield method, str(pattern.pattern)


def test_every_route_and_method_has_its_cases() -> None:
    assert sorted(routes()) == sorted(CASES)


def normal(response: Any) -> tuple[int, dict[str, str], str]:
    """Without what differs from one call to the next."""
    text = response.body.decode()
    others = ("Content-Length", "X-Request-Id")
    headers = {name: value for name, value in response.headers.items() if name not in others}
    text = re.sub(r'("(?:wall_time|cpu_time|memory)":)[0-9]+', r"\1-", text)
    return response.status_code, headers, re.sub(r"[\w-]{21}", "<id>", text)


@pytest.mark.parametrize(("method", "route"), REFERRING_PATHS)
def test_what_is_another_keys_is_not_there(
    alice: LibreChat,
    bob: LibreChat,
    hers: Owned,
    nobodys: Owned,
    store_dir: Path,
    method: str,
    route: str,
) -> None:
    own = make(bob)
    before, kept, mine = data_of(alice.key), bytes_in(store_dir), data_of(bob.key)
    for name, call in CASES[method, route].items():
        with CaptureQueriesContext(connection) as foreign:
            answer = call(bob, hers, own)
        with CaptureQueriesContext(connection) as unknown:
            expected = call(bob, nobodys, own)
        assert answer.status_code == 404, name
        assert answer.body == expected.body, name
        own_id = {"X-Request-Id": ""}
        assert dict(answer.headers) | own_id == dict(expected.headers) | own_id, name
        assert len(foreign) == len(unknown), name
    assert data_of(alice.key) == before
    assert bytes_in(store_dir) == kept
    assert data_of(bob.key) == mine


@pytest.mark.parametrize(("method", "route"), OTHERS)
def test_what_is_another_keys_is_never_used(
    alice: LibreChat,
    bob: LibreChat,
    hers: Owned,
    nobodys: Owned,
    store_dir: Path,
    method: str,
    route: str,
) -> None:
    own = make(bob)
    before, kept = data_of(alice.key), bytes_in(store_dir)
    # The first takes the container that Bob has idle, and his later ones take hers.
    bob.run("")
    for name, call in CASES[method, route].items():
        with CaptureQueriesContext(connection) as foreign:
            answer = call(bob, hers, own)
        with CaptureQueriesContext(connection) as unknown:
            expected = call(bob, nobodys, own)
        said = json.loads(answer.body)
        assert SECRET not in said.get("stdout", ""), name
        assert said.get("session_id") not in hers.sessions.values(), name
        assert normal(answer) == normal(expected), name
        assert len(foreign) == len(unknown), name
    assert data_of(alice.key) == before
    assert {path: bytes_in(store_dir).get(path) for path in kept} == kept


def test_the_cases_would_find_what_is_there(alice: LibreChat, hers: Owned) -> None:
    """The owner's own calls: else all of the above could be 404 for another reason."""
    statuses = {}
    for method, route in REFERRING_PATHS:
        if method != "delete":
            case = CASES[method, route]
            found = [call(alice, hers, hers).status_code for call in case.values()]
            statuses[method, route] = set(found)
    assert all(200 in found for found in statuses.values()), statuses
    looked = alice.run(LOOK, session_id=hers.sessions["run"], user_id="u1")
    assert looked["stdout"].count(SECRET) == 3


# --- another user of the same key: hints within it, says LibreChat ---


@pytest.mark.parametrize("by", ["session_id", "runtime_session_hint"])
def test_another_user_does_not_go_on_in_a_users_session(
    alice: LibreChat, hers: Owned, by: str
) -> None:
    fields = {by: hers.sessions["run"] if by == "session_id" else hers.hint}
    theirs = SandboxSession.objects.filter(pk__in=hers.sessions.values()).order_by("pk")
    before = list(theirs.values())
    answer = alice.run(LOOK, user_id="u2", **fields)
    assert answer["session_id"] not in hers.sessions.values()
    assert answer["stdout"] == "[]\n"
    assert list(theirs.values()) == before


def test_another_users_file_is_not_found_by_its_name(alice: LibreChat, hers: Owned) -> None:
    ref = {"id": new_id(), "session_id": new_id(), "name": "out.txt"}
    assert alice.run(LOOK, files=[ref], user_id="u2")["stdout"] == "[]\n"
    assert SECRET in alice.run(LOOK, files=[ref], user_id="u1")["stdout"]
