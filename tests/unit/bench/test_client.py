from __future__ import annotations

import json

import pytest

from bench.client import CallFailed, Form, Interpreter, check_run, written_file
from bench.service import free_port
from tests.unit.bench.conftest import Server


def test_a_run_is_asked_for_as_librechat_does(server: Server) -> None:
    interpreter = Interpreter(f"http://{server.address}/v1/", "the key")
    answer = interpreter.execute("py", "print(1)", session_id="s1")
    assert answer["stdout"] == "1\n"
    assert server.paths == ["/v1/exec"]
    assert server.headers[0]["X-API-Key"] == "the key"
    assert json.loads(server.bodies[0]) == {"lang": "py", "code": "print(1)", "session_id": "s1"}


def test_a_key_in_the_address_is_sent_as_a_password(server: Server) -> None:
    Interpreter(f"http://any:the%20key@{server.address}", "").execute("py", "print(1)")
    assert server.headers[0]["Authorization"] == "Basic YW55OnRoZSBrZXk="


def test_an_upload_is_one_part_with_the_bytes_as_they_are(server: Server) -> None:
    content = bytes(range(256))
    form = Form("input.bin", content)
    Interpreter(f"http://{server.address}", "").upload(form)
    boundary = server.headers[0]["Content-Type"].partition("boundary=")[2].encode()
    start, part, end = server.bodies[0].split(b"--" + boundary)
    assert (start, end) == (b"", b"--\r\n")
    head, _, sent = part.partition(b"\r\n\r\n")
    assert b'name="file"; filename="input.bin"' in head
    assert sent == content + b"\r\n"


def test_an_error_is_told_with_its_status(server: Server) -> None:
    server.status, server.answer = 429, b'{"error": "rate_limited"}'
    with pytest.raises(CallFailed, match=r"HTTP 429: .*rate_limited"):
        Interpreter(f"http://{server.address}", "").execute("py", "print(1)")


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b""])
def test_another_answer_than_an_object_is_an_error(server: Server, answer: bytes) -> None:
    server.answer = answer
    with pytest.raises(CallFailed, match="JSON"):
        Interpreter(f"http://{server.address}", "").execute("py", "print(1)")


def test_no_server_is_an_error_that_can_be_counted() -> None:
    with pytest.raises(CallFailed, match="ConnectionRefusedError"):
        Interpreter(f"http://127.0.0.1:{free_port()}", "").execute("py", "print(1)")


def test_a_run_that_did_something_else_is_an_error() -> None:
    check_run({"stdout": "1\n"}, "1\n")
    with pytest.raises(CallFailed, match="unexpected output; stderr: no"):
        check_run({"stdout": "", "stderr": "no"}, "1\n")


def test_a_file_that_the_run_has_not_written_is_an_error() -> None:
    files = [{"name": "input.bin", "id": "a", "inherited": True}, {"name": "out.bin", "id": "b"}]
    assert written_file({"files": files}, "out.bin")["id"] == "b"
    with pytest.raises(CallFailed, match=r"input\.bin is not among"):
        written_file({"files": files}, "input.bin")
