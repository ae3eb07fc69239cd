"""Requests byte by byte, as no client's library would send them, to a real gunicorn."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.unit.api.gunicorn import Server, database_url, serving

HURRIED = ("--worker-class", "tests.unit.api.gunicorn.HurriedWorker")
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def server(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("bytes")
    with serving(directory, *HURRIED, DATABASE_URL=database_url()) as running:
        yield running


def exchange(server: Server, request: bytes) -> bytes:
    with server.connect() as connection:
        connection.sendall(request)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


def check(answer: bytes) -> None:
    """One answer, in JSON, and no other."""
    answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    assert status < 500 or status == 501, answer
    assert b"\r\ncontent-type: application/json" in head.lower(), head
    assert b"\r\nconnection: close" in head.lower(), head
    assert not re.search(rb"\r\n(server|x-powered-by):", head, re.IGNORECASE), head
    # After HEAD there is none.
    if body:
        json.loads(body)
    assert answer.count(b"HTTP/1.") == 1, answer
    assert b"smuggled" not in body


few = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
    database=None,
)
lengths = [
    b"Content-Length: 0",
    b"Content-Length: 5",
    b"Content-Length: 5, 5",
    b"Content-Length: +5",
    b"Content-Length: -5",
    b"Content-Length: 0x5",
    b"Content-Length: 5 5",
    b"Content-Length: \xb2",
    b"Content-Length: 99999999999999999999999999",
    b"Content-Length : 5",
    b"Content_Length: 5",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: Chunked",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: identity, chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding:\x0bchunked",
    b'Transfer-Encoding: "chunked"',
    b"Transfer_Encoding: chunked",
    b"Transfer-Encoding\t: chunked",
    b"Expect: 100-continue",
    b"Upgrade: h2c",
    b"Connection: keep-alive",
    b"Host: y",
    b"X: y\rTransfer-Encoding: chunked",
    b"X: y\nTransfer-Encoding: chunked",
    b" folded: x",
]


@few
@given(
    method=st.sampled_from([b"GET", b"POST", b"HEAD", b"DELETE", b"CONNECT", b"TRACE", b"BREW"]),
    headers=st.lists(st.sampled_from(lengths), max_size=4),
    body=st.sampled_from(
        [b"", b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"hello", b"5;x=\r\nhello\r\n0\r\n\r\n"]
    ),
)
@example(method=b"POST", headers=[lengths[1], b"Transfer-Encoding: chunked"], body=b"0\r\n\r\n")
@example(method=b"POST", headers=[lengths[0], lengths[1]], body=b"")
@example(method=b"GET", headers=[lengths[0]], body=b"")
def test_no_second_request_is_found_behind_the_first(
    server: Server, method: bytes, headers: list[bytes], body: bytes
) -> None:
    head = b"\r\n".join([method + b" /health HTTP/1.1", b"Host: x", *headers])
    check(exchange(server, head + b"\r\n\r\n" + body + SMUGGLED))


targets = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [
            b"*", b"http://evil.example/health", b"//evil.example/health", b"/../../etc/passwd",
            b"/%2e%2e/%2e%2e/etc/passwd", b"/files/%00", b"/files/%0d%0aX:%20y", b"/files/%ff%fe",
            b"/static/../../interpreter_site/settings.py", b"/static/..%2f..%2fmanage.py",
            b"/static/%5c..%5c", b"/download/..%2f..%2f..%2fetc/passwd", b"/health#x", b"?x", b"",
            b"evil.example:443", b"/k/lci_a_b/%2e%2e/exec", b"http://[::1", b"/;x=y",
        ]
    ),
)  # fmt: skip


@few
@given(target=targets, version=st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b""]))
def test_any_target_is_answered(server: Server, target: bytes, version: bytes) -> None:
    answer = exchange(server, b"GET " + target + b" " + version + b"\r\nHost: x\r\n\r\n")
    check(answer)
    assert b"root:" not in answer
    assert b"SECRET_KEY" not in answer


@few
@given(request=st.binary(min_size=1, max_size=100))
def test_any_bytes_are_answered_or_hung_up_on(server: Server, request: bytes) -> None:
    check(exchange(server, request + b"\r\n\r\n"))


def test_afterwards_nothing_has_failed(server: Server) -> None:
    """Runs last in this file, on what all of the above did to one process."""
    check(exchange(server, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert "Traceback" not in server.log()
    assert "Booting worker" in server.log()
    assert server.log().count("Booting worker") == 1


def test_a_body_that_nobody_asked_for_is_not_kept(server: Server) -> None:
    """What is behind a 401 passes through the process and stays nowhere."""
    memory = memory_of(server)
    with server.connect() as connection:
        connection.sendall(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 80000000\r\n\r\n")
        for _ in range(80):
            connection.sendall(b"x" * 1_000_000)
        assert connection.recv(12) == b"HTTP/1.1 401"
    assert memory_of(server) - memory < 20_000_000


def memory_of(server: Server) -> int:
    """Of the worker, at its highest."""
    [worker] = re.findall(r"Booting worker with pid: (\d+)", server.log())
    status = Path(f"/proc/{worker}/status").read_text()
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return int(peak) * 1024
