"""A turn of a conversation as a version of LibreChat has it with this server, call by call."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from typing import Any

import requests

from sandbox.findings import Finding, fail, ok
from sandbox.librechat.calls import OF_SKILL, Calls, File, hidden

# LibreChat's own download route refuses every other form of an id.
ID = re.compile(r"[A-Za-z0-9_-]{21}")
URL = re.compile(r"https?://\S+")
# LibreChat uploads what is older again.
TRUSTED_HOURS = 23
CONTENT = b"a,b\n1,2\n"
PROGRAM = {
    "py": "print(open('/mnt/data/sales.csv').read(), end=''); open('out.txt', 'w').write('3')",
    "bash": "cat /mnt/data/sales.csv; printf 3 > out.txt",
}
WITHOUT_FILES = "print(1 + 2); open('out.txt', 'w').write('3')"
SKILL = {"skills/doctor/SKILL.md": b"# Doctor", "skills/doctor/scripts/run.py": b"print(1)"}


class Unexpected(Exception):
    """What LibreChat could not go on with."""


def play(calls: Calls) -> Iterator[Finding]:
    """Stops where LibreChat would have nothing to go on with."""
    release, uploaded = calls.release, None
    if release.has_files:
        uploaded = yield from _step("upload", lambda: _upload(calls), UPLOAD_ADVICE)
        if uploaded is None:
            return
        yield from _step("freshness", lambda: _freshness(calls, uploaded))
    ran = yield from _step("run", lambda: _run(calls, uploaded), RUN_ADVICE)
    if ran is not None:
        yield from _step("download", lambda: _download(calls, ran))
    yield from _step("failing program", lambda: _failing_program(calls))
    yield from _step("refused call", lambda: _refused_call(calls))
    if release.has_batches:
        yield from _step("skill", lambda: _skill(calls))
    if release.asks_listing_again and uploaded:
        yield from _step("liveness", lambda: _liveness(calls, uploaded))
    if release.has_objects and uploaded:
        yield from _step("delete", lambda: _delete(calls, uploaded))


UPLOAD_ADVICE = "401: see LibreChat's settings in the README. No answer: the address is wrong."
RUN_ADVICE = "503: manage.py doctor says why."

Done = tuple[str, File | None]


def _step(
    name: str, do: Callable[[], Done], advice: str = ""
) -> Generator[Finding, None, File | None]:
    """What came of a call; as its result the file that the next ones are about."""
    check = f"call.{name}"
    try:
        text, file = do()
    except Unexpected as error:
        yield fail(check, str(error), advice)
    except requests.RequestException as error:
        yield fail(check, f"no answer: {_without_key(error)}", advice)
    else:
        yield ok(check, text)
        return file
    return None


def _without_key(error: requests.RequestException) -> str:
    """Its text has the URL."""
    return URL.sub(lambda found: hidden(found[0]), str(error))


def _upload(calls: Calls) -> Done:
    answer = _json(calls.upload("sales.csv", CONTENT))
    if answer.get("message") != "success":
        raise Unexpected(f"Error uploading file: {answer.get('message')}")
    session_id = answer.get("session_id" if calls.release.sends_key else "storage_session_id")
    files = answer.get("files") or [{}]
    file = File(_id(session_id), _id(files[0].get("fileId")), "sales.csv")
    return f"{file.session_id}/{file.id}", file


def _freshness(calls: Calls, file: File) -> Done:
    answer = _json(calls.freshness(file))
    if calls.release.has_objects:
        modified = answer.get("lastModified")
    else:
        start = f"{file.session_id}/{file.id}"
        found = [entry for entry in answer if entry.get("name", "").startswith(start)]
        modified = found[0].get("lastModified") if found else None
    if not isinstance(modified, str):
        raise Unexpected("no lastModified: LibreChat uploads every file again in every turn")
    age = datetime.now(UTC) - datetime.fromisoformat(modified)
    hours = age.total_seconds() / 3600
    if not -1 < hours < TRUSTED_HOURS:
        raise Unexpected(f"lastModified is {hours:.1f} hours ago: the clocks differ")
    return f"lastModified {modified}", file


def _run(calls: Calls, file: File | None) -> Done:
    language = "bash" if calls.release.runs_bash else "py"
    if file:
        answer, expected = _json(calls.run(language, PROGRAM[language], file)), CONTENT.decode()
    else:
        answer, expected = _json(calls.run("py", WITHOUT_FILES)), "3\n"
    if answer.get("stdout") != expected:
        raise Unexpected(f"stdout {answer.get('stdout')!r}, stderr {answer.get('stderr')!r}")
    session_id = _id(answer.get("session_id"))
    made = [entry for entry in answer.get("files") or [] if entry.get("name") == "out.txt"]
    if not made:
        raise Unexpected("the file that the program wrote is not in the answer")
    if not calls.release.sends_key:
        session_id = made[0].get("storage_session_id") or session_id
    return f"{language}, session {session_id}", File(session_id, _id(made[0].get("id")), "out.txt")


def _download(calls: Calls, file: File) -> Done:
    answer = calls.download(file)
    if not answer.ok or answer.content != b"3":
        raise Unexpected(_said(answer))
    return f"{file.name}, {len(answer.content)} byte", file


def _failing_program(calls: Calls) -> Done:
    """An answer like others, or the model would not learn what was wrong."""
    answer = _json(calls.run("py", "1 / 0"))
    if "ZeroDivisionError" not in answer.get("stderr", ""):
        raise Unexpected(f"stderr is {answer.get('stderr')!r}")
    return "status 200, and stderr says why", None


def _refused_call(calls: Calls) -> Done:
    answer = calls.run("klingon", "nuqneH")
    if answer.status_code != requests.codes.bad_request:
        raise Unexpected(_said(answer))
    if not isinstance(_parsed(answer).get("error"), str):
        raise Unexpected("the answer has no text under `error`")
    return f"400, of which users see: {calls.shown(answer)}", None


def _skill(calls: Calls) -> Done:
    answer = _json(calls.upload_skill(SKILL))
    files = answer.get("files") or []
    names = [entry.get("filename") for entry in files]
    if answer.get("message") == "error" or names != list(SKILL):
        raise Unexpected(f"{answer.get('message')}: {names}")
    session_id = _id(answer.get("storage_session_id"))
    refs = [
        File(session_id, _id(entry.get("fileId")), entry["filename"], OF_SKILL) for entry in files
    ]
    ran = _json(calls.run("bash", "cat skills/doctor/SKILL.md", *refs))
    if ran.get("stdout") != "# Doctor":
        raise Unexpected(f"its file is not there: {ran.get('stderr')!r}")
    return f"{len(refs)} files, and a run that has them", None


def _liveness(calls: Calls, file: File) -> Done:
    answer = _json(calls.is_alive(file))
    if not any(entry.get("fileId") == file.id for entry in answer):
        raise Unexpected("the listing does not have the file")
    return "the listing has the file", file


def _delete(calls: Calls, file: File) -> Done:
    statuses = [answer.status_code for answer in calls.delete(file)]
    again = [answer.status_code for answer in calls.delete(file)]
    if statuses[-1] != requests.codes.ok or again[-1] != requests.codes.not_found:
        raise Unexpected(f"{statuses}, and a second time {again}")
    return "gone, and a second time there is nothing to delete", None


def _json(answer: requests.Response) -> Any:
    if not answer.ok:
        raise Unexpected(_said(answer))
    return _parsed(answer)


def _parsed(answer: requests.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise Unexpected(f"{answer.status_code}, and no JSON: {answer.text[:80]!r}") from None


def _said(answer: requests.Response) -> str:
    return f"{answer.status_code} {answer.reason}: {answer.text[:200]}"


def _id(value: Any) -> str:
    if isinstance(value, str) and ID.fullmatch(value):
        return value
    raise Unexpected(f"{value!r} is no id that LibreChat takes: 21 letters, digits, - or _")
