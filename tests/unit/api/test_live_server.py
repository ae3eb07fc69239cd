"""What only a real server shows: chunked bodies, connections, clients that leave. Protocol §12
items 7, 12, 23 and 24."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from audit.models import Execution, SandboxSession
from keys.models import APIKey
from tests.service import free_port
from tests.unit.api.gunicorn import Server, database_url, serving
from tests.unit.api.librechat import FORM, form_data

MB = 1024 * 1024


@pytest.fixture(scope="module")
def server(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("live"), DATABASE_URL=database_url()) as running:
        yield running


@pytest.fixture
def secret(transactional_db: None) -> str:
    return APIKey.issue(name="Alice")[1]


def request(
    server: Server, method: str, path: str, body: Any = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = server.http()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, names)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


def run(server: Server, secret: str, code: str, **fields: Any) -> dict[str, Any]:
    body = json.dumps({"lang": "py", "code": code} | fields)
    response, content = request(
        server, "POST", "/exec", body, X_API_Key=secret, Content_Type="application/json"
    )
    assert response.status == 200, content
    answer: dict[str, Any] = json.loads(content)
    return answer


def eventually(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def pieces(body: bytes, size: int = 50_000) -> Iterator[bytes]:
    """An iterator is sent chunked, without Content-Length."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


def test_a_chunked_upload_arrives_whole(server: Server, secret: str) -> None:
    content = bytes(range(256)) * 4000
    body = form_data(("dir/ä.bin", content), fields={"entity_id": "agent_1"})
    response, answer = request(
        server, "POST", "//upload", pieces(body), X_API_Key=secret, Content_Type=FORM
    )
    assert response.status == 200, answer
    uploaded = json.loads(answer)
    assert uploaded["files"][0]["filename"] == "dir/ä.bin"
    path = f"/download/{uploaded['session_id']}/{uploaded['files'][0]['id']}"
    response, downloaded = request(server, "GET", path, X_API_Key=secret)
    assert downloaded == content
    assert response.headers["Content-Length"] == str(len(content))
    response, nothing = request(server, "HEAD", path, X_API_Key=secret)
    assert (response.status, nothing) == (200, b"")


def test_a_chunked_program_runs(server: Server, secret: str) -> None:
    body = json.dumps({"lang": "py", "code": "print('ä')"}).encode()
    response, answer = request(
        server,
        "POST",
        "/run/exec/exec",
        pieces(body, 7),
        X_API_Key=secret,
        Content_Type="application/json",
    )
    assert json.loads(answer)["stdout"] == "ä\n"
    response, answer = request(
        server, "POST", "/exec", pieces(b"{"), X_API_Key=secret, Content_Type="application/json"
    )
    assert (response.status, json.loads(answer)["error"]) == (400, "Invalid request")


def test_an_upload_of_150_mb_is_kept_and_one_byte_more_leaves_nothing(
    server: Server, secret: str
) -> None:
    block = b"x" * MB
    head, _, tail = form_data(("big", b"<here>"), fields={}).partition(b"<here>")

    def body(size: int) -> Iterator[bytes]:
        yield head
        yield from (block for _ in range(size // MB))
        yield b"x" * (size % MB) + tail

    before = server.stored()
    response, answer = request(
        server, "POST", "/upload", body(150 * MB + 1), X_API_Key=secret, Content_Type=FORM
    )
    assert (response.status, json.loads(answer)) == (413, {"error": "File size limit exceeded"})
    assert server.stored() == before
    response, answer = request(
        server, "POST", "/upload", body(150 * MB), X_API_Key=secret, Content_Type=FORM
    )
    assert json.loads(answer)["files"][0]["size"] == 150 * MB


def test_every_connection_is_closed_and_says_so(server: Server, secret: str) -> None:
    answer = run(server, secret, "open('a', 'w').write('x')")
    [file] = answer["files"]
    for method, path in (
        ("GET", f"/files/{answer['session_id']}?detail=summary"),
        ("GET", f"/download/{answer['session_id']}/{file['id']}"),
        ("GET", f"/sessions/{answer['session_id']}/objects/{file['id']}"),
        ("GET", "/files/nothing"),
        ("GET", "/nothing"),
        ("DELETE", f"/files/{answer['session_id']}/{file['id']}"),
        ("POST", "/exec"),
    ):
        with server.connect() as connection:
            connection.sendall(
                f"{method} {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {secret}\r\n"
                "Connection: keep-alive\r\nContent-Length: 0\r\n\r\n".encode()
            )
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
        assert b"\r\nconnection: close\r\n" in received.lower(), path


def test_a_client_that_leaves_ends_its_run(
    server: Server, secret: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    beats = tmp_path_factory.mktemp("beats") / "beats"
    code = f"import time\nwhile True:\n open({str(beats)!r}, 'a').write('.')\n time.sleep(0.05)"
    body = json.dumps({"lang": "py", "code": code}).encode()
    connection = server.connect()
    connection.sendall(
        f"POST /exec HTTP/1.1\r\nHost: x\r\nX-API-Key: {secret}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    eventually(beats.exists)
    connection.close()
    eventually(lambda: Execution.objects.get().status == Execution.Status.ABORTED, 10)
    assert Execution.objects.get().message == "Client disconnected"
    size = beats.stat().st_size
    time.sleep(0.5)
    assert beats.stat().st_size == size
    assert run(server, secret, "print('next')")["stdout"] == "next\n"


def test_a_client_that_leaves_in_the_middle_of_an_upload_leaves_nothing(
    server: Server, secret: str
) -> None:
    before = server.stored()
    part = form_data(("big", b"x" * MB), fields={})[:-20]
    for framing, body in (
        (f"Content-Length: {10 * MB}", part),
        ("Transfer-Encoding: chunked", f"{len(part):x}\r\n".encode() + part + b"\r\n"),
    ):
        with server.connect() as connection:
            connection.sendall(
                f"POST /upload HTTP/1.1\r\nHost: x\r\nX-API-Key: {secret}\r\n"
                f"Content-Type: {FORM}\r\n{framing}\r\n\r\n".encode()
                + body
            )
            eventually(lambda: server.stored() != before)
        eventually(lambda: server.stored() == before)
    assert not SandboxSession.objects.exists()


def test_a_refused_upload_is_answered_although_nobody_read_it(server: Server, secret: str) -> None:
    length = 40 * MB
    with server.connect() as connection:
        connection.sendall(
            f"POST /upload HTTP/1.1\r\nHost: x\r\nX-API-Key: wrong\r\nContent-Type: {FORM}\r\n"
            f"Content-Length: {length}\r\n\r\n".encode()
        )
        for _ in range(40):
            connection.sendall(b"x" * MB)
        received = connection.recv(65536)
    assert received.startswith(b"HTTP/1.1 401 ")


def test_clients_that_do_not_hang_up_hold_up_nobody(server: Server, secret: str) -> None:
    idle = [server.connect() for _ in range(5)]
    for connection in idle:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    start = time.monotonic()
    for _ in range(5):
        assert request(server, "GET", "/health")[0].status == 200
    assert time.monotonic() - start < 1.5
    for connection in idle:
        assert connection.recv(12) == b"HTTP/1.1 200"
        connection.close()


def test_files_are_listed_while_programs_run(server: Server, secret: str) -> None:
    session_id = run(server, secret, "open('a', 'w')")["session_id"]
    with ThreadPoolExecutor(6) as pool:
        runs = [pool.submit(run, server, secret, "import time; time.sleep(4)") for _ in range(6)]
        eventually(lambda: Execution.objects.running().count() == 6)
        start = time.monotonic()
        _, answer = request(server, "GET", f"/files/{session_id}?detail=summary", X_API_Key=secret)
        spent = time.monotonic() - start
        assert not any(future.done() for future in runs)
        assert all(future.result()["code"] == 0 for future in runs)
    assert [entry["filename"] for entry in json.loads(answer)] == ["a"]
    assert spent < 2


def test_no_key_is_ever_logged(server: Server, secret: str) -> None:
    for path in ("health", "nothing", f"v1/files/x?key={secret}"):
        request(server, "GET", f"/k/{secret}/{path}")
    run(server, secret, "print(1)", LIBRECHAT_CODE_API_KEY=secret)
    with server.connect() as connection:
        connection.sendall(f"GET /k/{secret}/x HTTP/1.1\r\nbad header\r\n\r\n".encode())
        connection.recv(1000)
    assert "/health" in server.log()
    assert secret not in server.log()


def test_a_lost_database_is_a_503_and_health_still_answers(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    unknown = f"lci_{'a' * 10}_{'b' * 34}"
    url = f"postgres://u:p@127.0.0.1:{free_port()}/db"
    with serving(tmp_path_factory.mktemp("no-database"), DATABASE_URL=url) as server:
        response, answer = request(server, "POST", "/exec", b"{}", X_API_Key=unknown)
        assert (response.status, json.loads(answer)) == (503, {"error": "Database unavailable"})
        assert request(server, "GET", "/health")[0].status == 200
