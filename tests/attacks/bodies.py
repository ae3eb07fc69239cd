"""Bodies that are wrong."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from typing import Any

from tests.attacks.attack import held
from tests.attacks.refusals import (
    JSON,
    RUN,
    accepted_or_refused,
    group,
    post,
    refused,
)
from tests.attacks.target import Target


@group.attack()
def malformed_json(target: Target) -> str:
    """Bodies that are no JSON, or JSON and no object."""
    for body in (b"", b"{", b"null", b"[]", b'"x"', b"1", b"{'lang': 'py'}", b'{"lang": "py",}',
                 b'{"lang"}', b"\xff\xfe{\x00}\x00", b"\x00", b'{"lang": "py" "code": ""}', b"NaN",
                 b'{"lang": "py", "code": NaN}', b'{"lang": "py", "code": "\x01', b"\xef\xbb\xbf{",
                 b'{"code": "\xff", "lang": "py"}', b"{" * 10, b"true", b"-"):  # fmt: skip
        answer = post(target, body)
        refused(answer.content, answer.status_code, body, {400})
    return ""


@group.attack()
def wrong_types(target: Target) -> str:
    """Each field of a run in every type that JSON has."""
    values: list[Any] = [None, True, -1, 1.5, "", "x", [[]], {"x": {}}, [None], [{}]]
    for field in ("lang", "code", "args", "files", "session_id", "runtime_session_hint", "timeout",
                  "user_id", "entity_id"):  # fmt: skip
        for value in values:
            not_wrong_about(target, {field: value})
    for value in values:
        fields = ("id", "session_id", "storage_session_id", "name", "kind", "version")
        refs = [{"id": "x" * 21, "name": f"x-{field}", field: value} for field in fields]
        not_wrong_about(target, {"files": refs})
        not_wrong_about(target, {"files": [ref for ref in refs if ref["name"] != value]})
    return ""


def not_wrong_about(target: Target, fields: Mapping[str, Any]) -> None:
    answer = target.request("POST", "/exec", json=RUN | dict(fields))
    accepted_or_refused(answer, fields)


@group.attack()
def deep_json(target: Target) -> str:
    """A hundred thousand lists in one another, objects as well, and none of them closed."""
    for piece, end in ((b"[", b"]"), (b'{"a":', b"}"), (b"[", b""), (b'[{"":', b"")):
        body = b'{"lang": "py", "code": ' + piece * 100_000 + b"1" + end * 100_000 + b"}"
        answer = post(target, body)
        refused(answer.content, answer.status_code, piece, {400})
    return ""


@group.attack()
def text_that_no_database_takes(target: Target) -> str:
    """Half characters, NUL and other controls in every field that is kept."""
    for text in ("\\ud800", "\\udfff\\ud800", "\\u0000", "a\\u0000b", "\\u202e", "\\u001b[2J"):
        for field in ("code", "args", "user_id", "entity_id", "runtime_session_hint", "lang"):
            kept = {key: json.dumps(value) for key, value in RUN.items()} | {field: f'"{text}"'}
            body = "{" + ",".join(f'"{key}": {value}' for key, value in kept.items()) + "}"
            accepted_or_refused(post(target, body.encode()), f"{field}={text}")
    return ""


@group.attack()
def one_name_twice(target: Target) -> str:
    """The same key again and again, which one parser reads so and another otherwise."""
    bodies = (
        b'{"lang": "rust", "lang": "py", "code": "x", "code": "print(1)"}',
        b'{"lang": "py", "code": "print(1)"' + b', "code": "print(1)"' * 50_000 + b"}",
    )
    for body in bodies:
        answer = post(target, body)
        held(answer.status_code == 200 and answer.json()["stdout"] == "1\n", answer.text[:200])
    return ""


@group.attack()
def gigantic_numbers(target: Target) -> str:
    """Numbers with ten thousand digits and exponents beyond all bounds."""
    for number in ("1e308", "1e400", "-1e400", "9" * 10_000, "-" + "9" * 4_000, "0." + "1" * 10_000,
                   "1e-400", "-0", "Infinity", "-Infinity", "NaN", "1" + "0" * 400):  # fmt: skip
        fields = ",".join(f'"{field}":{number}' for field in ("args", "session_id", "user_id"))
        for body in (f'{{"lang":"py","code":"",{fields}}}', f'{{"timeout":{number}}}'):
            accepted_or_refused(post(target, body.encode()), number)
    return ""


@group.attack()
def packed_bodies(target: Target) -> str:
    """A body that unpacks to a gigabyte, under every name of a coding."""
    packed = gzip.compress(bytes(10 * 2**20)) * 100
    for coding in ("gzip", "deflate", "br", "zstd", "x-gzip", "gzip, gzip", "GZIP"):
        answer = post(target, packed, JSON | {"Content-Encoding": coding})
        refused(answer.content, answer.status_code, coding, {415})
    return ""


@group.attack()
def body_without_end(target: Target) -> str:
    """More of a body than is read, with a length and without."""

    def endless() -> Iterable[bytes]:
        yield b'{"lang": "py", "code": "'
        for _ in range(60):
            yield b"x" * 2**20

    for data in (endless(), b"x" * (60 * 2**20)):
        answer = target.request("POST", "/exec", data=data, headers=JSON)
        refused(answer.content, answer.status_code, "60 MB", {400, 413})
    return ""


def form(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts)


FIELD = b'Content-Disposition: form-data; name="x"\r\n\r\ny'
FILE = b'Content-Disposition: form-data; name="file"; filename="x"\r\n\r\ny'


@group.attack()
def multipart_without_end(target: Target) -> str:
    """Bodies of parts that are never closed, have no beginning, or are nobody's."""
    for body, boundary in (
        (form(FILE), "b"),
        (b"--b", "b"),
        (b"", "b"),
        (b"--b--\r\n", "b"),
        (b"x" * 1_000_000, "b"),
        (form(FILE) + b"--b--", "c"),
        (form(FILE) + b"--b--", ""),
        (form(FILE) + b"--b--", "b" * 100_0),
        (form(b"no header at all") + b"--b--", "b"),
        (form(b"X: " + b"y" * 1_000_000 + b"\r\n\r\nz") + b"--b--", "b"),
        (form(b"X: y\r\n" * 10_000 + b"\r\nz") + b"--b--", "b"),
        (form(b"\r\n\r\n") + b"--b--", "b"),
        (b"\r\n" * 100_000, "b"),
    ):
        for path in ("/upload", "/upload/batch"):
            kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
            answer = target.request("POST", path, data=body, headers=kind)
            refused(answer.content, answer.status_code, body[:40], {400, 413, 415})
    return ""


@group.attack()
def multipart_of_many_parts(target: Target) -> str:
    """A hundred thousand fields, fifty thousand files, and a field of a hundred megabytes."""
    for body in (
        form(FIELD) * 100_000,
        form(FILE) * 50_000,
        form(FIELD[:-1] + b"y" * 100_000_000),
        form(FIELD) * 90 + form(FILE) * 300,
    ):
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        answer = target.request("POST", "/upload", data=body + b"--b--\r\n", headers=kind)
        refused(answer.content, answer.status_code, body[:40], {400, 413})
    return ""


@group.attack()
def other_bodies(target: Target) -> str:
    """Types of body that nobody has asked for."""
    for kind in ("text/plain", "application/xml", "application/x-www-form-urlencoded", "x", "",
                 "application/json; charset=utf-7", "multipart/form-data", "application/yaml",
                 "application/x-python-pickle", "application/msgpack"):  # fmt: skip
        body = b"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>"
        for path in ("/exec", "/upload"):
            answer = target.request("POST", path, data=body, headers={"Content-Type": kind})
            refused(answer.content, answer.status_code, kind, {400, 415})
    return ""


# More than there are threads to serve with.
