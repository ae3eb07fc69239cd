"""The id of a request, its line in the log, and that neither the log nor the metrics tell what
nobody else is to know."""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from audit.models import Execution
from keys.models import APIKey
from tests.fakes.engine import FakeEngine
from tests.unit.api.gunicorn import database_url, serving
from tests.unit.api.librechat import LibreChat
from tests.unit.api.test_live_server import request, run

LOGGER = "sandbox.api.observing"


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [record.__dict__["fields"] for record in caplog.records if record.name == LOGGER]


@pytest.mark.parametrize("given", ["a-proxy's", "x" * 65, "two\tparts", "", "<b>", "ä"])
def test_a_request_gets_an_id_of_its_own(alice: LibreChat, fake: FakeEngine, given: str) -> None:
    made = [alice.call("GET", "/health", headers={"X-Request-Id": given}) for _ in range(2)]
    ids = [response["X-Request-Id"] for response in made]
    assert given not in ids
    assert len(set(ids)) == 2
    assert {len(each) for each in ids} == {21}


def test_a_proxys_id_is_kept(alice: LibreChat, fake: FakeEngine) -> None:
    answer = alice.call("GET", "/nowhere", headers={"X-Request-Id": "proxy-1:2.3_4"})
    assert answer["X-Request-Id"] == "proxy-1:2.3_4"


def test_a_run_is_a_line_and_all_of_it_is_counted(
    alice: LibreChat, fake: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    alice.run("print(1)")
    (line,) = lines(caplog)
    assert line.pop("duration_ms") > 0
    assert line == {"method": "POST", "route": "exec", "status": 200, "outcome": "succeeded"}


def test_a_run_that_could_not_be_made_was_aborted(
    alice: LibreChat, fake: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    fake.down = True
    assert alice.exec("print(1)").status_code == 503
    fake.down = False
    (line,) = lines(caplog)
    assert (line["status"], line["outcome"]) == (503, "aborted")


def test_an_address_is_never_a_route(
    alice: LibreChat, fake: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    session = "s" * 21
    for path in ("/no/such", f"/files/{session}", "/files/<script>"):
        alice.get(path)
    assert [line["route"] for line in lines(caplog)] == [
        "unknown", "files/<session_id>", "files/<session_id>"
    ]  # fmt: skip
    assert "script" not in caplog.text


def test_probes_are_not_told_of(
    alice: LibreChat, fake: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    alice.get("/health")
    assert lines(caplog) == []


def test_the_log_of_a_server_is_json_without_secrets(
    transactional_db: None, tmp_path: Path
) -> None:
    """Planted wherever a caller can put one: code, output, headers, address, and what is wrong."""
    key, secret = APIKey.issue(name="Alice")
    basic = b64encode(f"any:{secret}".encode()).decode()
    planted = "hunter2-planted"
    with serving(tmp_path, DATABASE_URL=database_url(), LOG_LEVEL="DEBUG") as server:
        answer = run(server, secret, f"import sys; print('{planted}'); sys.exit('{planted}')")
        for path, headers in (
            (f"/k/{secret}/exec", {"Content-Type": "application/json"}),
            (f"/k/{secret}/files/x", {"From": planted}),
            ("/exec", {"X-API-Key": secret + planted, "Cookie": planted}),
            ("/exec", {"Authorization": f"Bearer {planted}", "User-Agent": planted}),
            ("/exec", {"Authorization": f"Basic {basic}", "X-Request-Id": f"{planted} {secret}"}),
            (f"/nowhere?{planted}={secret}", {"Referer": planted}),
        ):
            connection = server.http()
            body = json.dumps({"lang": planted, "code": planted, "args": [planted]})
            connection.request("POST", path, body, headers)
            assert connection.getresponse().status in (200, 400, 401, 404, 405, 415)
            connection.close()
        for raw in (
            f"GET /k/{secret}/x HTTP/9.9\r\n{planted}\r\n\r\n",
            f"GET /k/{secret}/x HTTP/1.1\r\nX-API-Key {secret}\r\n\r\n",
        ):
            with server.connect() as client:
                client.sendall(raw.encode())
                assert b"400" in client.recv(100)
        text = server.log()
    log = [json.loads(line) for line in text.splitlines()]
    assert planted not in text
    assert secret not in text
    assert secret.rpartition("_")[2] not in text
    assert basic not in text
    (ran,) = (line for line in log if line.get("outcome"))
    execution = Execution.objects.get(session=answer["session_id"])
    assert (ran["key"], ran["session"], ran["execution"], ran["status"]) == (
        key.prefix, answer["session_id"], execution.pk, 200
    )  # fmt: skip
    assert {line["logger"] for line in log} >= {LOGGER, "gunicorn.error", "gunicorn.access"}


def test_lines_for_people(transactional_db: None, tmp_path: Path) -> None:
    with serving(tmp_path, DATABASE_URL=database_url(), LOG_FORMAT="console") as server:
        response, _ = request(server, "GET", "/files/x")
        log = server.log()
    assert f"request_id={response.headers['X-Request-Id']}" in log
    assert "INFO sandbox.api.observing: GET files/<session_id> 401" in log
