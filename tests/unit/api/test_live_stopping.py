"""A server that is told to stop, as long as a run goes on."""

from __future__ import annotations

import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from audit.models import Execution
from keys.models import APIKey
from tests.unit.api.gunicorn import Server, database_url, serving
from tests.unit.api.test_live_server import eventually, request, run

# Until the test says so.
WAITING = """
import pathlib, time
while not pathlib.Path({path!r}).exists():
    time.sleep(.05)
print("done")
"""


def stopping(server: Server) -> bool:
    response, body = request(server, "GET", "/health/ready")
    return response.status == 503 and json.loads(body)["status"] == "stopping"


def test_what_comes_while_a_run_goes_on_is_told_to_come_again(
    transactional_db: None, tmp_path: Path
) -> None:
    secret = APIKey.issue(name="Alice")[1]
    end = tmp_path / "end"
    with (
        ThreadPoolExecutor(1) as threads,
        serving(
            tmp_path, DATABASE_URL=database_url(), GRACEFUL_SECONDS="120", WEB_WORKERS="2"
        ) as server,
    ):
        waiting = threads.submit(run, server, secret, WAITING.format(path=str(end)))
        try:
            eventually(lambda: Execution.objects.running().exclude(container=None).exists())
            (master,) = set(re.findall(r"Listening at: \S+ \((\d+)\)", server.log()))
            os.kill(int(master), signal.SIGTERM)

            eventually(lambda: stopping(server))

            body = json.dumps({"lang": "py", "code": "print(1)"})
            for path in ("/exec", f"/k/{secret}/exec"):
                response, content = request(server, "POST", path, body, X_API_Key=secret)
                assert response.status == 503
                assert int(response.headers["Retry-After"]) > 0
                assert json.loads(content)["error"] == "The server is stopping"
            assert not waiting.done()
        finally:
            end.touch()
        assert waiting.result(60)["stdout"] == "done\n"
        # Then nothing holds it any longer, least of all the two minutes.
        eventually(lambda: "Shutting down: Master" in server.log())
    assert Execution.objects.count() == 1


def test_a_storm_of_requests_does_not_keep_it_up(transactional_db: None, tmp_path: Path) -> None:
    """Those that are turned away are not waited for."""
    secret = APIKey.issue(name="Alice")[1]
    end = tmp_path / "end"
    with (
        ThreadPoolExecutor(1) as threads,
        serving(tmp_path, DATABASE_URL=database_url(), GRACEFUL_SECONDS="120") as server,
    ):
        waiting = threads.submit(run, server, secret, WAITING.format(path=str(end)))
        eventually(lambda: Execution.objects.running().exclude(container=None).exists())
        (master,) = set(re.findall(r"Listening at: \S+ \((\d+)\)", server.log()))
        os.kill(int(master), signal.SIGTERM)
        eventually(lambda: stopping(server))
        end.touch()
        answered = 0
        try:
            # As long as somebody listens, there is another one.
            while True:
                answered += stopping(server)
        except OSError:
            pass
        assert answered
        assert waiting.result(60)["stdout"] == "done\n"
        eventually(lambda: "Shutting down: Master" in server.log())
