"""What goes wrong only where several requests meet."""

from __future__ import annotations

import json
import secrets
import socket
import time
from contextlib import suppress
from functools import partial

import requests

from tests.attacks.attack import Group, held
from tests.attacks.concurrently import at_once
from tests.attacks.target import Answer, Target

group = Group("concurrency")

COUNT = """
n = int(open("n").read())
open("n", "w").write(str(n + 1))
print(n)
"""


@group.attack()
def thirty_runs_in_a_session(target: Target) -> str:
    """Thirty runs at once, each of which counts in the session's one file."""
    session_id: str = target.run("open('n', 'w').write('0')")["session_id"]
    count = partial(target.run, COUNT, session_id=session_id)
    answers = at_once([count] * 30)
    counted = sorted(int(answer["stdout"]) for answer in answers)
    held(counted == list(range(30)), f"runs have overlapped: {counted}")
    return session_id


@group.attack()
def forty_new_sessions(target: Target) -> str:
    """More runs at once than there are containers, none of which may see another's file."""

    def run(number: int) -> Answer:
        code = f"import os; print(set(os.listdir()) - {{'main.py'}}); open('f{number}', 'w')"
        return target.run(code)

    answers = at_once([partial(run, number) for number in range(40)])
    for number, answer in enumerate(answers):
        held(answer["stdout"] == "set()\n", f"it has found something: {answer}")
        held([file["name"] for file in answer["files"]] == [f"f{number}"], f"not its own: {answer}")
    held(len({answer["session_id"] for answer in answers}) == 40, "two had one session")
    return str(answers[0]["session_id"])


@group.attack()
def race_for_a_hint(target: Target) -> str:
    """Twelve runs at once under a hint that there has not been yet."""
    hint = f"race-{secrets.token_hex(8)}"
    run = partial(target.run, "open('n', 'a').write('x')", runtime_session_hint=hint)
    sessions = {str(answer["session_id"]) for answer in at_once([run] * 12)}
    held(len(sessions) == 1, f"one hint has become {len(sessions)} sessions")
    answer = target.run("print(open('n').read())", runtime_session_hint=hint)
    held(answer["stdout"] == "x" * 12 + "\n", f"a run was lost: {answer}")
    return sessions.pop()


@group.attack()
def deleted_while_it_runs(target: Target) -> str:
    """Deletes a session's files, lists and downloads them, while programs rewrite them."""
    made = target.run("for n in range(8): open(f'{n}.txt', 'w').write('x' * 1000)")
    session_id, files = made["session_id"], made["files"]

    def rewrite() -> int:
        code = "for n in range(8): open(f'{n}.txt', 'a').write('y')"
        ended = target.run(code, session_id=session_id)["code"]
        return 200 if ended == 0 else 0

    def ask(method: str, path: str) -> int:
        return target.request(method, path).status_code

    calls = [rewrite] * 4
    for file in files:
        where = f"{session_id}/{file['id']}"
        calls.append(partial(ask, "DELETE", f"/files/{where}"))
        calls.append(partial(ask, "DELETE", f"/sessions/{session_id}/objects/{file['id']}"))
        calls.append(partial(ask, "GET", f"/download/{where}"))
    calls += [partial(ask, "GET", f"/files/{session_id}?detail=full")] * 4
    held(set(at_once(calls)) <= {200, 404}, "something broke")
    listed = target.request("GET", f"/files/{session_id}?detail=normalized")
    held(listed.status_code == 200, f"the listing is gone: {listed.status_code}")
    return str(session_id)


def leave_early(target: Target, body: Answer, seconds: float) -> None:
    """Ask for a run and hang up before it is answered."""
    data = json.dumps(body).encode()
    head = target.head(
        "POST", "/exec", "Content-Type: application/json", f"Content-Length: {len(data)}"
    )
    with target.connect() as connection:
        connection.sendall(head + data)
        time.sleep(seconds)


@group.attack()
def clients_that_go_away(target: Target) -> str:
    """Hangs up in the middle of runs that would go on for a minute, in one session."""
    session_id: str = target.run("open('kept.txt', 'w').write('kept')")["session_id"]
    code = "import time; open('kept.txt', 'a').write('.'); time.sleep(60)"
    body = {"lang": "py", "code": code, "session_id": session_id}
    at_once([partial(leave_early, target, body, 1.0)] * 6)
    answer = target.run("print(open('kept.txt').read()[:4])", session_id=session_id)
    held(answer["stdout"] == "kept\n", f"the session is lost: {answer}")
    return str(session_id)


@group.attack()
def storm_of_cancellations(target: Target) -> str:
    """Asks for sixty runs in sixty sessions and hangs up at once, at different moments."""
    body = {"lang": "py", "code": "import time; time.sleep(60)"}
    at_once([partial(leave_early, target, body, number / 30) for number in range(60)])
    return ""


@group.attack()
def thousands_of_connections(target: Target) -> str:
    """Opens three thousand connections and closes them, with a word, half a word or none."""
    for number in range(3000):
        # It may have no more room for us, as long as it has for others afterwards.
        with suppress(OSError), target.connect() as connection:
            if number % 3:
                connection.sendall(b"GET /health HTTP/1.1\r\n"[: number % 23])
            if number % 5 == 0:
                # Not closed in order, but broken off.
                linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    return ""


@group.attack()
def one_file_uploaded_twenty_times(target: Target) -> str:
    """Uploads the same bytes under the same name at once, deletes one, and reads the others."""
    content = secrets.token_bytes(300_000)
    answers = at_once([partial(target.upload, {"same.bin": content})] * 20)
    held(len({answer["session_id"] for answer in answers}) == 20, "two became one session")
    [first, *others] = [
        {"session_id": answer["session_id"], "id": answer["files"][0]["fileId"]}
        for answer in answers
    ]
    target.request("DELETE", f"/files/{first['session_id']}/{first['id']}")
    for file in others:
        held(target.download(file).content == content, "one file was taken for another")
    return ""


@group.attack()
def uploaded_while_listed(target: Target) -> str:
    """Lists and uses uploads while they come in, and breaks some of them off."""

    def half_an_upload() -> int:
        head = target.head(
            "POST",
            "/upload",
            "Content-Length: 900000",
            "Content-Type: multipart/form-data; boundary=b",
        )
        part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        with target.connect() as connection:
            connection.sendall(head + part + bytes(400_000))
        return 400

    def upload_and_list() -> int:
        uploaded = target.upload({"a.txt": b"a" * 100_000, "b.txt": b"b"})
        listed = target.request("GET", f"/files/{uploaded['session_id']}?detail=simple")
        return listed.status_code if len(listed.json()) == 2 else 0

    told = at_once([upload_and_list, half_an_upload] * 10)
    held(set(told) == {200, 400}, f"a listing was incomplete: {told}")
    return ""


@group.attack()
def download_that_is_deleted(target: Target) -> str:
    """Deletes a file while somebody reads it slowly, and breaks downloads off."""
    content = secrets.token_bytes(20 * 2**20)
    uploaded = target.upload({"large.bin": content})
    where = f"{uploaded['session_id']}/{uploaded['files'][0]['fileId']}"

    def begin() -> requests.Response:
        return target.request("GET", f"/download/{where}", stream=True)

    for _ in range(10):
        begin().close()
    with begin() as response:
        chunks = response.iter_content(2**16)
        begun = next(chunks)
        held(target.request("DELETE", f"/files/{where}").status_code == 200, "it was not deleted")
        held(begun + b"".join(chunks) == content, "the download was changed")
    held(target.request("GET", f"/download/{where}").status_code == 404, "it is still there")
    return ""
