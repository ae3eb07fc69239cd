"""Getting at what belongs to another key."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial

from tests.attacks.attack import Need, held
from tests.attacks.belongings import LOOK, belongings, group, refused_like_a_stranger, untouched
from tests.attacks.target import Target

two_keys = partial(group.attack, Need.SECOND_KEY)


def of_each_file(method: str, path: str) -> Callable[[Target], str]:
    def carry_out(target: Target) -> str:
        with untouched(target) as owned:
            for file in owned.files:
                refused_like_a_stranger(
                    target, method, path.format(session=file["session_id"], file=file["id"])
                )
        return str(owned.run["session_id"])

    return carry_out


for name, tries, method, path in (
    ("download", "Downloads another key's files", "GET", "/download/{session}/{file}"),
    ("head", "Asks for the headers of another key's files", "HEAD", "/download/{session}/{file}"),
    ("metadata", "Asks for their metadata", "GET", "/sessions/{session}/objects/{file}"),
    ("delete", "Deletes another key's files", "DELETE", "/files/{session}/{file}"),
    ("delete_object", "The same by the other path", "DELETE", "/sessions/{session}/objects/{file}"),
):
    group.add(name, tries, of_each_file(method, path), Need.SECOND_KEY)


@two_keys()
def lists(target: Target) -> str:
    """Lists another key's sessions, in every detail that there is."""
    with untouched(target) as owned:
        for session_id in owned.sessions:
            for detail in ("", "?detail=simple", "?detail=summary", "?detail=full", "?kind=user"):
                path = f"/files/{session_id}{detail}"
                answer = target.request("GET", path, key=target.other_key)
                held(answer.status_code == 404, f"{detail} was answered: {answer.text}")
                held(answer.json() == {"error": "Session not found"}, answer.text)
    return str(owned.run["session_id"])


@two_keys()
def run_in_it(target: Target) -> str:
    """Runs a program in another key's session, by its id."""
    with untouched(target) as owned:
        for session_id in owned.sessions:
            answer = target.run(LOOK, key=target.other_key, session_id=session_id)
            held(answer["session_id"] not in owned.sessions, "it ran in the owner's session")
            held(not owned.is_in(str(answer)), f"it has read the secret: {answer}")
    return str(owned.run["session_id"])


@two_keys()
def as_an_input(target: Target) -> str:
    """Names another key's files as its own inputs, as every version of LibreChat spells that."""
    with untouched(target) as owned:
        for file in owned.files:
            for more in (
                {"session_id": file["session_id"]},
                {"storage_session_id": file["session_id"], "kind": "user", "resource_id": "u"},
                {"session_id": file["session_id"], "inherited": True, "entity_id": "a"},
            ):
                ref = {"id": file["id"], "name": "in.txt", **more}
                answer = target.run(LOOK, key=target.other_key, files=[ref])
                held(not owned.is_in(str(answer)), f"it has read the secret: {answer}")
                listing = target.listing(answer["session_id"], key=target.other_key)
                held(file["id"].encode() not in listing, "the file is listed as its own")
                # A session that has used a file gives it out under its own id.
                path = f"/download/{answer['session_id']}/{file['id']}"
                refused_like_a_stranger(target, "GET", path)
    return str(owned.run["session_id"])


@two_keys()
def under_its_own_session(target: Target) -> str:
    """Asks for another key's file under a session of its own, and for its own under the other's."""
    with untouched(target) as owned:
        mine = target.run("open('mine.txt', 'w').write('mine')", key=target.other_key)
        [my_file] = mine["files"]
        for file in owned.files:
            for session_id, file_id in (
                (mine["session_id"], file["id"]),
                (file["session_id"], my_file["id"]),
            ):
                for method, path in (
                    ("GET", f"/download/{session_id}/{file_id}"),
                    ("GET", f"/sessions/{session_id}/objects/{file_id}"),
                    ("DELETE", f"/files/{session_id}/{file_id}"),
                ):
                    refused_like_a_stranger(target, method, path)
        kept = target.download(my_file, key=target.other_key)
        held(kept.text == "mine", "its own file is gone")
    return str(owned.run["session_id"])


@two_keys()
def the_same_hint(target: Target) -> str:
    """Sends the hint under which another key's conversation goes on."""
    hint = f"conversation-{secrets.token_hex(4)}"
    owned = belongings(target, hint=hint)
    answer = target.run(LOOK, key=target.other_key, runtime_session_hint=hint)
    held(answer["session_id"] != owned.run["session_id"], "it is the owner's session")
    held(not owned.is_in(str(answer)), f"it has read the secret: {answer}")
    again = target.run("print(open('secret.txt').read())", runtime_session_hint=hint)
    held(again["stdout"] == owned.secret + "\n", "the owner's file was changed")
    return str(owned.run["session_id"])


@two_keys()
def hint_made_of_an_id(target: Target) -> str:
    """Sends the ids of another key's session and file where a hint, a user or an agent is named."""
    with untouched(target) as owned:
        for value in (*owned.sessions, owned.files[0]["id"]):
            body = {
                "runtime_session_hint": value,
                "user_id": value,
                "entity_id": value,
                "runtime_session_id": value,
                "storage_session_id": value,
            }
            answer = target.run(LOOK, key=target.other_key, headers={"User-Id": value}, **body)
            held(answer["session_id"] not in owned.sessions, "it is the owner's session")
            held(not owned.is_in(str(answer)), f"it has read the secret: {answer}")
    return str(owned.run["session_id"])


@two_keys()
def scopes(target: Target) -> str:
    """Claims the kind, id and version under which another key has uploaded a skill."""
    form = {"kind": "skill", "id": "skill-1", "version": "1"}
    secret = secrets.token_hex(16)
    sent = {"file": ("skill.md", secret.encode())}
    made = target.request("POST", "/upload", data=form, files=sent).json()
    session_id, file_id = made["storage_session_id"], made["files"][0]["fileId"]
    for query in ("kind=skill&id=skill-1&version=1", "kind=user&id=u", "kind=agent&id=skill-1"):
        for path in (
            f"/download/{session_id}/{file_id}",
            f"/sessions/{session_id}/objects/{file_id}",
        ):
            answer = target.request("GET", f"{path}?{query}", key=target.other_key)
            held(answer.status_code == 404, f"{query} opened it: {answer.status_code}")
    ref = {"id": file_id, "storage_session_id": session_id, "name": "skill.md", "kind": "skill"}
    ref |= {"resource_id": "skill-1", "version": 1}
    ran = target.run(LOOK, key=target.other_key, files=[ref])
    held(secret not in str(ran), f"it has read the skill: {ran}")
    return ""


@two_keys()
def key_of_two_halves(target: Target) -> str:
    """Puts one key's prefix before another's secret, and sends several keys at once."""
    with untouched(target) as owned:
        path = f"/files/{owned.run['session_id']}"
        mine, theirs = target.other_key, target.key
        cut = len("lci_") + 10
        for key in (theirs[:cut] + mine[cut:], theirs[:-1], theirs.swapcase(), theirs + "x"):
            answer = target.request("GET", path, key=key)
            held(answer.status_code == 401, f"a made-up key was answered: {answer.status_code}")
        for headers in ({"Api-Key": theirs[:cut]}, {"Authorization": f"Bearer {theirs[:cut]}"}):
            answer = target.request("GET", path, key=mine, headers=headers)
            held(answer.status_code == 404, f"{headers} opened it: {answer.status_code}")
    return str(owned.run["session_id"])
