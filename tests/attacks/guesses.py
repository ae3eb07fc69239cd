"""Ids and keys that are guessed, made up, or have ended."""

from __future__ import annotations

from itertools import pairwise

from tests.attacks.attack import Need, held
from tests.attacks.belongings import ID, belongings, group
from tests.attacks.target import Target


@group.attack()
def ids_that_can_be_guessed(target: Target) -> str:
    """Looks for an order, a clock or a counter in the ids of sessions and files."""
    ids = []
    for _ in range(12):
        answer = target.upload({f"{n}.txt": b"x" for n in range(8)})
        ids += [answer["session_id"], *(file["fileId"] for file in answer["files"])]
    held(all(ID.fullmatch(each) for each in ids), "an id has another form")
    held(len(set(ids)) == len(ids), "an id came twice")
    rising = sum(a < b for a, b in pairwise(ids))
    held(len(ids) * 0.3 < rising < len(ids) * 0.7, f"{rising} of {len(ids)} rise")
    for place in range(21):
        # Of 64 letters, 108 draws show about 52; a place that tells the time shows one or two.
        held(len({each[place] for each in ids}) > 25, f"letter {place} hardly changes")
    return ""


@group.attack()
def ids_of_another_form(target: Target) -> str:
    """Puts patterns, statements of SQL and lists where an id belongs."""
    owned = belongings(target)
    [file, _] = owned.files
    tricks = ("%25", "*", "_" * 21, "' OR '1'='1", "%00", file["id"] + "%00", file["id"] + " ",
              file["id"].swapcase(), file["id"] + "," + file["id"], "..", "%2e%2e")  # fmt: skip
    for trick in tricks:
        for path in (
            f"/download/{file['session_id']}/{trick}",
            f"/download/{trick}/{file['id']}",
            f"/files/{trick}",
            f"/sessions/{trick}/objects/{trick}",
        ):
            answer = target.request("GET", path)
            held(answer.status_code == 404, f"{path} was answered with {answer.status_code}")
            held(not owned.is_in(answer.text), f"{path} shows the secret")
    return str(owned.run["session_id"])


@group.attack()
def which_keys_there_are(target: Target) -> str:
    """Compares what wrong keys are answered: of a known prefix, of an unknown one, of no form."""
    cut = len("lci_") + 10
    wrong = [
        target.key[:cut] + "_" + "x" * 34,
        "lci_" + "x" * 10 + "_" + "x" * 34,
        "sk-live-of-somebody-else",
    ]
    answers = [target.request("GET", f"/files/{'x' * 21}", key=key) for key in wrong]
    held({answer.status_code for answer in answers} == {401}, str(answers))
    each_its_own = {"Date", "X-Request-Id"}
    told = {
        (
            answer.content,
            tuple(sorted((k, answer.headers[k]) for k in answer.headers.keys() - each_its_own)),
        )
        for answer in answers
    }
    held(len(told) == 1, f"the answers tell wrong keys apart: {told}")
    return ""


@group.attack(Need.HOST)
def keys_that_have_ended(target: Target) -> str:
    """Goes on with a key that was revoked, and with one that has expired."""
    assert target.service
    answers = []
    endings = ("revoked_at", "expires_at")
    keys = [target.service.manage("createapikey", ending).split()[-1] for ending in endings]
    made = [target.run("open('a.txt', 'w').write('one')", key=key) for key in keys]
    target.service.sql(
        "from django.utils import timezone\nfrom keys.models import APIKey\n"
        f"for ending in {endings}:\n"
        "    APIKey.objects.filter(name=ending).update(**{ending: timezone.now()})"
    )
    for key, answer in zip(keys, made, strict=True):
        [file] = answer["files"]
        answers += [
            target.download(file, key=key),
            target.request("GET", f"/files/{file['session_id']}", key=key),
            target.request("POST", "/exec", key=key, json={"lang": "py", "code": "print(1)"}),
            target.request("POST", "/upload", key=key, files={"file": b"x"}),
        ]
    unknown = target.request("GET", f"/files/{'x' * 21}", key="lci_" + "x" * 10 + "_" + "x" * 34)
    for ended in answers:
        held(ended.status_code == 401, f"an ended key was answered with {ended.status_code}")
        held(ended.content == unknown.content, f"it tells that the key existed: {ended.text}")
    return ""


@group.attack()
def no_key(target: Target) -> str:
    """Asks each route without a key, and with an empty one."""
    owned = belongings(target)
    [file, _] = owned.files
    where = f"{file['session_id']}/{file['id']}"
    for method, path in (
        ("POST", "/exec"),
        ("POST", "/upload"),
        ("POST", "/upload/batch"),
        ("POST", "/exec/programmatic"),
        ("GET", f"/download/{where}"),
        ("HEAD", f"/download/{where}"),
        ("GET", f"/files/{file['session_id']}"),
        ("DELETE", f"/files/{where}"),
        ("GET", f"/sessions/{file['session_id']}/objects/{file['id']}"),
        ("GET", f"/k//files/{file['session_id']}"),
    ):
        for headers in ({}, {"X-API-Key": ""}, {"Authorization": "Bearer "}, {"Api-Key": ","}):
            answer = target.request(method, path, key="", headers=headers)
            held(
                answer.status_code in (401, 404) and not owned.is_in(answer.text),
                f"{method} {path} {headers} was answered with {answer.status_code}",
            )
    held(target.download(file).text == owned.secret, "the owner's file is gone")
    return str(owned.run["session_id"])
