"""How a wrong request has to be answered: in time, as JSON, and with the blame on the client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import requests

from tests.attacks.attack import Group, held
from tests.attacks.target import Reply, Target, error_of

group = Group("http")

TELLTALES = (b"Traceback", b'File "/', b"<html", b"<!DOCTYPE", b"django", b"Django", b"gunicorn")
JSON = {"Content-Type": "application/json"}
RUN = {"lang": "py", "code": ""}


def refused(
    body: bytes, status: int, what: object, statuses: Iterable[int] = range(400, 500)
) -> None:
    what = repr(what)[:80]
    held(status in statuses, f"{what} was answered with {status}: {body[:200]!r}")
    silent(body, what)
    held(error_of(body), f"{what} was not answered with an error as JSON: {body[:200]!r}")


def silent(body: bytes, what: object) -> None:
    told = [each for each in TELLTALES if each in body]
    held(not told, f"{what}: the answer tells of the inside: {told}")


def reply_refused(reply: Reply, what: object, statuses: Iterable[int] = range(400, 500)) -> None:
    refused(reply.body, reply.status, what, statuses)
    held(reply.data.count(b"HTTP/1.") == 1, f"{what!r} was taken for several: {reply.data[:400]!r}")


def post(target: Target, body: bytes, headers: Mapping[str, str] = JSON) -> requests.Response:
    return target.request("POST", "/exec", data=body, headers=headers)


def accepted_or_refused(answer: requests.Response, what: object) -> None:
    held(answer.status_code in (200, 400), f"{what!r:.80}: {answer.status_code}")
    if answer.status_code != 200:
        refused(answer.content, answer.status_code, what)
