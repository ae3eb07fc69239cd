"""Clients that take their time hold neither a thread nor a connection for ever."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count

import pytest
from django.contrib.auth.models import User

from interpreter_site.connections import HEAD_BYTES
from keys.models import APIKey
from tests.service import wait_until
from tests.unit.api.gunicorn import Server, database_url, serving
from tests.unit.api.librechat import FORM, form_data

MB = 1024 * 1024
HURRIED = ("--worker-class", "tests.unit.api.gunicorn.HurriedWorker")
BEFORE_THE_NEXT_BYTE = 0.2
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def server(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Of two threads, and hurried."""
    directory = tmp_path_factory.mktemp("slow")
    with serving(directory, *HURRIED, DATABASE_URL=database_url(), WEB_THREADS="2") as running:
        yield running


@pytest.fixture
def secret(transactional_db: None) -> str:
    return APIKey.issue(name="Alice")[1]


def read(connection: socket.socket) -> bytes:
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def status_and_error(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]


def drip(connection: socket.socket, endless: Iterator[bytes]) -> bytes:
    """A byte now and then, until the server has had enough; its answer."""
    for piece in endless:
        connection.sendall(piece)
        if select.select([connection], [], [], BEFORE_THE_NEXT_BYTE)[0]:
            return read(connection)
    raise AssertionError("unreachable")


def healthy(server: Server) -> bool:
    connection = server.http()
    connection.request("GET", "/health")
    answer = connection.getresponse().read()
    connection.close()
    return answer == b'{"status":"ok"}'


def test_a_head_that_drips_is_given_up(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(HEALTH)
        answer = drip(connection, (b"X-%d: y\r\n" % number for number in count()))
    assert status_and_error(answer) == (408, "Request timeout")


def test_heads_that_drip_hold_no_thread(server: Server) -> None:
    with ExitStack() as stack:
        for _ in range(10):
            connection = stack.enter_context(server.connect())
            connection.sendall(HEALTH)
        # All of these are accepted before this one, and none has been given up yet.
        assert healthy(server)
        assert not select.select([connection], [], [], 0)[0]


def test_clients_that_do_not_hang_up_hold_no_thread(server: Server) -> None:
    with ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(10)]
        for connection in connections:
            connection.sendall(HEALTH + b"\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
            # It goes on, and would have all threads wait for what it may say.
            connection.sendall(b"x" * 1000)
        assert healthy(server)


@pytest.mark.parametrize("path", ["/exec", "/upload"])
@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_a_body_that_drips_is_given_up(
    server: Server, secret: str, path: str, framing: str
) -> None:
    content_type = FORM if path == "/upload" else "application/json"
    with server.connect() as connection:
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {secret}\r\n"
            f"Content-Type: {content_type}\r\n{framing}\r\n\r\n".encode()
        )
        piece = b"1\r\nx\r\n" if "chunked" in framing else b"x"
        answer = drip(connection, (piece for _ in count()))
    assert status_and_error(answer)[0] == 400
    assert "Traceback" not in server.log()


def test_small_bodies_that_drip_hold_no_thread(server: Server, secret: str) -> None:
    with ExitStack() as stack:
        for _ in range(10):
            connection = stack.enter_context(server.connect())
            connection.sendall(exec_head(secret, 100_000) + b"{")
        assert healthy(server)
        assert status_and_error(drip(connection, (b"x" for _ in count())))[0] == 408


def test_a_client_that_waits_for_our_word_gets_it(server: Server, secret: str) -> None:
    body = b'{"lang": "py", "code": "print(1)"}'
    with server.connect() as connection:
        head = exec_head(secret, len(body))
        connection.sendall(head.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert b'"stdout":"1\\n"' in read(connection)


@pytest.mark.parametrize("length", [100, 1_000_000])
def test_a_body_that_ends_too_early_is_refused(server: Server, secret: str, length: int) -> None:
    """Although what there is of it would do."""
    with server.connect() as connection:
        connection.sendall(exec_head(secret, length) + b'{"lang": "py", "code": "print(1)"}')
        connection.shutdown(socket.SHUT_WR)
        assert status_and_error(read(connection))[0] == 400


def exec_head(secret: str, length: int) -> bytes:
    return (
        f"POST /exec HTTP/1.1\r\nHost: x\r\nX-API-Key: {secret}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def test_a_stranger_cannot_hold_threads_by_the_admins_forms(
    server: Server, transactional_db: None
) -> None:
    """A form is read before anybody knows who sends it."""
    User.objects.create_superuser("admin", "", "correct horse")
    connection = server.http()
    connection.request("GET", "/admin/login/")
    answer = connection.getresponse()
    token = answer.headers["Set-Cookie"].partition(";")[0]
    with ExitStack() as stack:
        for _ in range(6):
            dripping = stack.enter_context(server.connect())
            dripping.sendall(
                "POST /admin/login/ HTTP/1.1\r\nHost: x\r\n"
                f"Cookie: {token}\r\nContent-Length: 1000000\r\n"
                "Content-Type: application/x-www-form-urlencoded\r\n\r\n".encode()
            )
        # Without a form there is no token in it.
        assert drip(dripping, (b"x" for _ in count())).startswith(b"HTTP/1.1 403 ")
        assert healthy(server)


def test_a_slow_client_that_gets_on_is_served(server: Server, secret: str) -> None:
    """It takes longer than our patience, but does not fall below the lowest rate."""
    body = json.dumps({"lang": "py", "code": "print(1)#" + "x" * 60_000}).encode()
    with server.connect() as connection:
        connection.sendall(
            f"POST /exec HTTP/1.1\r\nHost: x\r\nX-API-Key: {secret}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        *pieces, last = (body[start : start + 5000] for start in range(0, len(body), 5000))
        for piece in pieces:
            connection.sendall(piece)
            assert not select.select([connection], [], [], BEFORE_THE_NEXT_BYTE)[0]
        connection.sendall(last)
        assert b'"stdout":"1\\n"' in read(connection)


def test_an_answer_that_is_read_by_drips_is_given_up(server: Server, secret: str) -> None:
    connection = server.http()
    headers = {"X-API-Key": secret, "Content-Type": FORM}
    connection.request("POST", "/upload", form_data(("a", b"x" * 40 * MB), fields={}), headers)
    answer = json.loads(connection.getresponse().read())
    path = f"/download/{answer['session_id']}/{answer['files'][0]['id']}"
    said = server.log().count("A client stopped reading its answer")
    with server.connect() as slow:
        slow.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {secret}\r\n\r\n".encode())

        def given_up() -> bool:
            slow.recv(100)
            return server.log().count("A client stopped reading its answer") > said

        wait_until(given_up)
    assert "Traceback" not in server.log()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (HEALTH + b"X: " + b"y" * HEAD_BYTES, 431),
        (HEALTH + b"X: " + b"y" * HEAD_BYTES + b"\r\n\r\n", 431),
        (HEALTH.replace(b"\r", b"") + b"\n", 400),
        (HEALTH + b"\n", 400),
        (b"\r\n" + HEALTH + b"\r\n", 200),
        (b"\r\n\r\n" + HEALTH + b"\r\n", 400),
        (b"\n\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 408),
    ],
)
def test_a_head_of_another_kind_is_answered_in_time(
    server: Server, head: bytes, status: int
) -> None:
    with server.connect() as connection:
        connection.sendall(head)
        assert read(connection).startswith(b"HTTP/1.1 %d " % status)


def test_a_head_may_come_in_any_pieces(server: Server) -> None:
    whole = HEALTH + b"\r\n"
    with ExitStack() as stack:
        for cut in range(1, len(whole)):
            connection = stack.enter_context(server.connect())
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(whole[:cut])
            # Not sooner than the server has read the first piece.
            assert healthy(server) or cut % 10
            connection.sendall(whole[cut:])
            assert read(connection).startswith(b"HTTP/1.1 200 "), cut


def test_where_too_many_wait_the_oldest_makes_room(
    django_db_setup: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Not hurried: it would have the time to wait for each of them."""
    directory = tmp_path_factory.mktemp("crowd")
    with (
        serving(directory, "--worker-connections", "5", DATABASE_URL=database_url()) as server,
        ExitStack() as stack,
    ):
        crowd = [stack.enter_context(server.connect()) for _ in range(8)]
        for connection in crowd:
            connection.sendall(HEALTH)
        assert healthy(server)
        assert crowd[0].recv(12) == b"HTTP/1.1 408"
