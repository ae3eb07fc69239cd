"""Errors that arise before Django, beside it or in the middle of its reading and writing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from keys.models import APIKey
from tests.service import wait_until
from tests.unit.api.gunicorn import Server, database_url, serving
from tests.unit.api.librechat import FORM, form_data

MB = 1024 * 1024
HURRIED = ("--worker-class", "tests.unit.api.gunicorn.HurriedWorker")


@pytest.fixture(scope="module")
def server(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("errors")
    with serving(directory, *HURRIED, DATABASE_URL=database_url()) as running:
        yield running


@pytest.fixture
def secret(transactional_db: None) -> str:
    return APIKey.issue(name="Alice")[1]


def send(server: Server, *lines: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """The answer to the very bytes: status, headers, body."""
    with server.connect() as connection:
        connection.sendall("".join(f"{line}\r\n" for line in lines).encode() + body)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    head, _, content = received.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    headers = dict(field.lower().split(": ", 1) for field in fields)
    return int(status.split()[1]), headers, content


GET = "GET /health HTTP/1.1"
POST = "POST /health HTTP/1.1"


@pytest.mark.parametrize(
    ("lines", "status", "error"),
    [
        (["nonsense", ""], 400, "Bad request"),
        (["g@t /health HTTP/1.1", ""], 400, "Bad request"),
        (["GET /health HTTP/3.7", ""], 400, "Bad request"),
        (["GET /ä HTTP/1.1", ""], 400, "Bad request"),
        ([GET, "no colon", ""], 400, "Bad request"),
        ([GET, "n@me: x", ""], 400, "Bad request"),
        ([GET, "Name: \0", ""], 400, "Bad request"),
        ([GET, "Name: x", " folded", ""], 400, "Bad request"),
        ([POST, "Content-Length: -1", ""], 400, "Bad request"),
        ([POST, "Content-Length: 1", "Transfer-Encoding: chunked", ""], 400, "Bad request"),
        ([GET, "X-Forwarded-Proto: https", "X-Forwarded-Ssl: off", ""], 400, "Bad request"),
        ([GET.replace("health", "x" * 9000), ""], 414, "Request line too long"),
        ([GET, "Name: " + "x" * 9000, ""], 431, "Request headers too large"),
        ([GET, *["Name: x"] * 200, ""], 431, "Request headers too large"),
        ([POST, "Expect: wonders", ""], 417, "Expectation failed"),
        ([POST, "Transfer-Encoding: wonders", ""], 501, "Transfer coding not supported"),
        ([GET, "Host: x"], 408, "Request timeout"),
        ([GET], 408, "Request timeout"),
    ],
)
def test_what_never_reaches_django_is_answered_like_everything_else(
    server: Server, lines: list[str], status: int, error: str
) -> None:
    answered, headers, body = send(server, *lines)
    assert (answered, json.loads(body)) == (status, {"error": error})
    assert headers == {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "connection": "close",
    }
    assert "Traceback" not in server.log()


@pytest.mark.parametrize(
    "body",
    [
        b"wonders\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}and more",
        b"2;\rx\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}\r\n0\r\nno colon\r\n\r\n",
        b"2\r\n{}\r\n0\r\nName: " + b"x" * 90_000 + b"\r\n\r\n",
        b"9\r\n{}",
    ],
    ids=["size", "terminator", "extension", "trailer", "long trailer", "silence"],
)
@pytest.mark.parametrize(
    ("path", "content_type"), [("/exec", "application/json"), ("/upload", FORM)]
)
def test_a_broken_body_is_the_clients_error(
    server: Server, secret: str, path: str, content_type: str, body: bytes
) -> None:
    status, headers, content = send(
        server,
        f"POST {path} HTTP/1.1",
        "Host: x",
        f"X-API-Key: {secret}",
        f"Content-Type: {content_type}",
        "Transfer-Encoding: chunked",
        "",
        body=body,
    )
    assert (status, headers["connection"]) == (400, "close")
    assert set(json.loads(content)) <= {"error", "message"}
    assert "Traceback" not in server.log()


def test_a_client_that_stops_reading_frees_its_thread_without_a_traceback(
    server: Server, secret: str
) -> None:
    connection = server.http()
    headers = {"X-API-Key": secret, "Content-Type": FORM}
    connection.request("POST", "/upload", form_data(("a", b"x" * 40 * MB), fields={}), headers)
    answer = json.loads(connection.getresponse().read())
    path = f"/download/{answer['session_id']}/{answer['files'][0]['id']}"
    with server.connect() as idle:
        idle.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {secret}\r\n\r\n".encode())
        wait_until(lambda: "A client stopped reading its answer" in server.log())
    assert "Traceback" not in server.log()


def test_what_could_not_be_read_is_neither_logged_nor_sent_back(server: Server) -> None:
    secret = "lci_aaaaaaaaaa_secret"
    for lines in (
        [f"GET /k/{secret}/ä HTTP/1.1", ""],
        [f"GET /k/{secret}/x", ""],
        ["GET / HTTP/1.1", f"X-API-Key {secret}", ""],
    ):
        status, _, body = send(server, *lines)
        assert (status, json.loads(body)) == (400, {"error": "Bad request"})
    assert "InvalidRequestLine" in server.log()
    assert secret not in server.log()


def test_a_failure_outside_django_is_a_500_that_tells_nothing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = tmp_path_factory.mktemp("broken")
    with serving(directory, "tests.unit.api.gunicorn:broken") as server:
        status, headers, body = send(server, "GET /k/secret/x HTTP/1.1", "Host: x", "")
        assert (status, json.loads(body)) == (500, {"error": "Internal server error"})
        assert headers["connection"] == "close"
        assert "RuntimeError: something of the inside" in server.log()
        assert "/k/***/x" in server.log()
