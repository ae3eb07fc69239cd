"""Whatever comes in, the answer is JSON of the one shape, and never our fault."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from audit.ids import is_id, new_id
from audit.models import Execution
from keys.models import APIKey
from sandbox.api.parsers import MAX_VALUES
from sandbox.api.uploads import stored_name
from sandbox.names import is_safe_name
from tests.unit.api.librechat import BOUNDARY, FORM, JSON, CheckedClient, LibreChat

quick = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    # The same examples each time: a build fails by what was changed, never by chance.
    derandomize=True,
    database=None,
)

# Half characters, NUL, what reorders text, what ends headers and paths.
awkward = st.text(
    st.one_of(
        st.characters(),
        st.characters(categories=["Cs"]),
        st.sampled_from("\0\r\n\t\"'\\/;:.%\u202e\u2028\x7f\x1b"),
    ),
    max_size=40,
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**18, max_value=10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    awkward,
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(awkward, inner, max_size=4)
    ),
    max_leaves=10,
)
# What the protocol names, with whatever in it.
refs = st.dictionaries(
    st.sampled_from(
        ["id", "session_id", "storage_session_id", "name", "kind", "resource_id", "version", "x"]
    ),
    st.one_of(anything, st.builds(new_id), st.sampled_from(["user", "agent", "skill", "a.txt"])),
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "lang": st.one_of(st.sampled_from(["py", "bash", "PY ", "python3"]), anything),
    "code": st.one_of(st.just(""), anything),
    "args": st.one_of(st.lists(scalars, max_size=3), anything),
    "files": st.one_of(st.lists(refs, max_size=3), anything),
    "session_id": st.one_of(st.builds(new_id), anything),
    "runtime_session_hint": st.one_of(st.just("h"), anything),
    "timeout": st.one_of(st.integers(1000, 5000), anything),
    "user_id": anything,
    "entity_id": anything,
    "intent": anything,
}
bodies = st.fixed_dictionaries({}, optional=FIELDS)
# A program that runs, but for one field: so that each of them is reached.
nearly_right = st.sampled_from(sorted(FIELDS)).flatmap(
    lambda name: FIELDS[name].map(lambda value: {"lang": "py", "code": ""} | {name: value})
)
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"]


def check(response: Any, *, allowed: tuple[int, ...] = ()) -> None:
    status = response.status_code
    assert status < 500 or status in allowed, (status, response.content)
    if status >= 400:
        assert response["Content-Type"] == "application/json"
        if response.request["REQUEST_METHOD"] != "HEAD":
            error = json.loads(response.content)
            assert isinstance(error["error"], str)
            assert error.keys() <= {
                "error",
                "message",
                "details",
                "retry_after_seconds",
                "files",
                "succeeded",
                "failed",
            }
            # No more than a header of the request is ever said back.
            assert len(response.content) < 10_000
        for told in (b"Traceback", b"<html", b"site-packages", b"psycopg", b"SELECT"):
            assert told not in response.content
    assert not any("\n" in value or "\r" in value for value in response.headers.values())


def encoded(value: Any) -> bytes:
    """Lone surrogates as the escapes by which JSON can carry them."""
    return json.dumps(value).encode()


@contextmanager
def nothing_left_running() -> Iterator[None]:
    yield
    assert not Execution.objects.running().exists()


@quick
@given(body=st.one_of(bodies, nearly_right, anything))
@example(body={"lang": "py", "code": "\0"})
@example(body={"lang": "py", "code": "\ud800", "args": ["\udfff"], "user_id": "\0"})
@example(body={"lang": "\ud800" * 100, "code": ""})
@example(body={"lang": "py", "code": "", "files": [{"name": "../x"}]})
@example(body={"lang": "py", "code": "", "timeout": "1e999"})
def test_any_json_is_answered(alice: LibreChat, body: Any) -> None:
    with nothing_left_running():
        check(alice.post("/exec", encoded(body)))


@quick
@given(body=st.binary(max_size=200))
@example(body=b"")
@example(body=b"\xef\xbb\xbf{}")
@example(body=b'{"lang": "py", "code": 1' + b"0" * 5000 + b"}")
@example(body=b'{"a":' * 100_000)
@example(body=b"[" * 1_000_000)
@example(body=b"[" + b"[]," * 400_000 + b"[]]")
@example(body=b"{" + b",".join(b'"%d":0' % n for n in range(200_000)) + b"}")
@example(body='{"lang":"py","code":"ä"}'.encode("utf-16"))
@example(body=b'{"lang": "py", "code": "\xff"}')
@example(body=b'{"lang": NaN, "code": Infinity}')
def test_any_bytes_are_answered(alice: LibreChat, body: bytes) -> None:
    check(alice.post("/exec", body))
    check(alice.post("/upload", body, content_type=FORM))


def test_a_body_of_many_values_is_refused_before_it_is_made_into_them(alice: LibreChat) -> None:
    """25 MB of empty lists would be gigabytes of memory."""
    many = b'{"lang": "py", "code": "", "x": [' + b"[]," * MAX_VALUES + b"[]]}"
    response = alice.post("/exec", many)
    assert response.status_code == 400
    assert response.json()["message"] == "The JSON has too many values."


@pytest.mark.parametrize("text", ["," * 300_000, '",' * 200_000, '\\",' * 200_000, "\\" * 200_000])
def test_but_a_program_may_have_as_many_commas_as_it_likes(alice: LibreChat, text: str) -> None:
    assert alice.run(f"print(len({text!r}))")["stdout"] == f"{len(text)}\n"


path_parts = st.one_of(
    st.binary(min_size=1, max_size=30),
    st.builds(lambda: new_id().encode()),
    st.sampled_from(
        [
            b"..",
            b".",
            b"%2e%2e",
            b"..%2f..%2fetc%2fpasswd",
            b"....//",
            b"\\..\\",
            b"\0",
            b"\r\nX: y",
            b"\xff\xfe",
            b"a" * 2000,
            "é".encode(),
            b";",
            b"?",
            b"#",
        ]
    ),
)
PATTERNS = [
    "/download/{}/{}",
    "/files/{}",
    "/files/{}/{}",
    "/sessions/{}/objects/{}",
    "/k/{}/exec",
    "/v1/{}",
    "/run/exec/{}/{}",
    "/{}",
    "/{}/{}",
]


@quick
@given(
    method=st.sampled_from(METHODS),
    pattern=st.sampled_from(PATTERNS),
    first=path_parts,
    second=path_parts,
)
@example(method="GET", pattern="/download/{}/{}", first=b"..", second=b"..%2f..%2fetc%2fpasswd")
def test_any_path_is_answered(
    alice: LibreChat, method: str, pattern: str, first: bytes, second: bytes
) -> None:
    path = pattern.format(first.decode("latin-1"), second.decode("latin-1"))
    if path.startswith(("/admin", "/static")):
        return
    check(alice.call(method, path), allowed=(501,))


@quick
@given(
    path=st.sampled_from(["/files/{}", "/download/{}/{}", "/sessions/{}/objects/{}"]),
    query=st.dictionaries(
        st.sampled_from(["kind", "id", "version", "entity_id", "detail", "x"]),
        st.one_of(awkward, st.sampled_from(["user", "agent", "skill", "full", "9" * 30, "-1"])),
    ),
)
def test_any_query_is_answered(alice: LibreChat, path: str, query: dict[str, str]) -> None:
    written = "&".join(
        f"{name}={quote_from_bytes(value.encode(errors='surrogatepass'))}"
        for name, value in query.items()
    )
    check(alice.call("GET", path.format(new_id(), new_id()), QUERY_STRING=written))


# As gunicorn passes them on: no control characters but the tab.
header_values = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=60
)


@quick
@given(
    headers=st.dictionaries(
        st.sampled_from(
            [
                "Authorization",
                "Api-Key",
                "X-API-Key",
                "User-Id",
                "Content-Type",
                "Accept",
                "Content-Encoding",
                "X-CodeAPI-Expected-Profile",
                "Host",
                "Cookie",
                "Range",
                "If-None-Match",
                "X-Forwarded-For",
                "X-Forwarded-Proto",
                "X-HTTP-Method-Override",
                "Transfer-Encoding",
                "Origin",
                "Referer",
            ]
        ),
        header_values,
    )
)
def test_any_headers_are_answered(alice: LibreChat, headers: dict[str, str]) -> None:
    check(alice.post("/exec", {"lang": "py", "code": ""}, headers=headers))
    check(CheckedClient().post("/exec", b"{}", content_type=JSON, headers=headers))
    check(alice.call("GET", f"/files/{new_id()}", headers=headers))


parts = st.lists(
    st.tuples(
        st.sampled_from(["Content-Disposition", "content-type", "X", ""]),
        st.one_of(
            st.builds('form-data; name="{}"; filename="{}"'.format, awkward, awkward),
            st.builds("form-data; name={}; filename*=utf-8''{}".format, awkward, awkward),
            awkward,
        ),
        st.binary(max_size=40),
    ),
    max_size=4,
)


@quick
@given(parts=parts, ending=st.sampled_from([f"--{BOUNDARY}--\r\n", "", "--", f"--{BOUNDARY}"]))
def test_any_form_is_answered(
    alice: LibreChat, parts: list[tuple[str, str, bytes]], ending: str
) -> None:
    body = b"".join(
        f"--{BOUNDARY}\r\n{name}: {value}\r\n\r\n".encode(errors="surrogatepass") + data + b"\r\n"
        for name, value, data in parts
    )
    for path in ("/upload", "/upload/batch"):
        check(alice.post(path, body + ending.encode(), content_type=FORM))


@quick
@given(content_type=st.one_of(header_values, st.builds("multipart/form-data; {}".format, awkward)))
@example(content_type="multipart/form-data; boundary=" + "x" * 5000)
@example(content_type="multipart/form-data; boundary=\u0130")
def test_any_content_type_is_answered(alice: LibreChat, content_type: str) -> None:
    for path in ("/exec", "/upload", "/upload/batch"):
        text = content_type.encode("latin-1", errors="replace").decode("latin-1")
        check(alice.post(path, b"--x--", content_type=text))


@quick
@given(name=awkward)
def test_any_file_name_becomes_a_safe_one(name: str) -> None:
    assert is_safe_name(stored_name(name))


@quick
@given(
    text=st.one_of(st.text(string.ascii_letters + string.digits + "_-/.\n", max_size=30), awkward)
)
def test_only_an_id_is_an_id(text: str) -> None:
    plain = set(text) <= set(string.ascii_letters + string.digits + "_-")
    assert is_id(text) is (len(text) == 21 and plain)


@quick
@given(secret=awkward)
def test_any_secret_in_a_path_or_header_is_wrong(alice: LibreChat, secret: str) -> None:
    header = secret.encode("latin-1", errors="replace").decode("latin-1")
    header = "".join(char for char in header if char >= " ")
    response = CheckedClient().post(
        "/exec", b"{}", content_type=JSON, headers={"X-API-Key": header}
    )
    assert response.status_code in (401, 429)
    assert APIKey.authenticate(secret) is None
