"""script/server: the whole service from one command, on a real terminal's Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.containers import docker_engine
from tests.server import Server, found
from tests.service import ROOT, free_port


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    docker_engine()
    server = Server(tmp_path / "data", free_port())
    yield server
    if server.process and server.process.poll() is None:
        server.process.terminate()
        server.process.wait(120)


def test_the_first_start_shows_what_the_next_ones_keep(server: Server) -> None:
    first = server.start()
    key = found(r"LIBRECHAT_CODE_API_KEY=(lci_\w+)", first)
    password = found(r"admin / (\S+)", first)
    assert f"LIBRECHAT_CODE_BASEURL={server.url}/run/exec\n" in first
    assert f"http://any:{key}@{server.url.removeprefix('http://')}/run/exec\n" in first
    made = server.run(key, "echo kept > file.txt")
    assert _logged_in(server, password)
    assert server.interrupt() == 130
    assert (server.containers(), server.processes()) == ([], [])

    second = server.start()
    assert key not in second
    assert password not in second
    again = server.run(key, "cat file.txt", session_id=str(made["session_id"]))
    assert (again["stdout"], again["stderr"]) == ("kept\n", "")
    assert _logged_in(server, password)


def _logged_in(server: Server, password: str) -> bool:
    with requests.Session() as browser:
        page = browser.get(f"{server.url}/admin/login/", timeout=20)
        token = found(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
        fields = {"username": "admin", "password": password, "csrfmiddlewaretoken": token}
        browser.post(f"{server.url}/admin/login/", data=fields, timeout=20)
        return "sessionid" in browser.cookies


def test_nothing_readable_by_others_is_kept(server: Server) -> None:
    server.run(found(r"API_KEY=(\S+)", server.start()), "echo secret > file.txt")
    assert server.interrupt() == 130
    kept = [path for path in server.directory.rglob("*") if path.is_file()]
    assert any(path.is_relative_to(server.directory / "files") for path in kept)
    server_lock = server.directory / "server.lock"
    assert [p for p in kept if p.stat().st_mode & 0o077 and p != server_lock] == []


@pytest.mark.parametrize("command", ["gunicorn", "keeper"])
def test_when_one_process_dies_it_says_which_and_stops_the_rest(
    server: Server, command: str
) -> None:
    server.start()
    os.kill(server.child(command), signal.SIGKILL)
    assert server.process is not None
    assert server.process.wait(120) == 1
    assert f"{command} has ended" in server.output.read_text()
    assert (server.containers(), server.processes()) == ([], [])


def test_it_starts_again_after_it_was_killed(server: Server) -> None:
    key = found(r"API_KEY=(\S+)", server.start())
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    deadline = time.monotonic() + 60
    while any("postgres" not in line for line in server.processes()):
        assert time.monotonic() < deadline, server.processes()
        time.sleep(0.2)
    server.start()
    assert server.run(key, "echo back")["stdout"] == "back\n"
    assert server.interrupt() == 130
    assert (server.containers(), server.processes()) == ([], [])


def test_the_same_data_are_never_served_twice(server: Server) -> None:
    server.start()
    second = subprocess.run(
        ["script/server"],
        cwd=ROOT,
        env=server.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert "another one runs" in second.stderr
    assert requests.get(f"{server.url}/health", timeout=10).status_code == 200


def test_a_taken_port_is_said_before_anything_starts(server: Server) -> None:
    other = Server(server.directory.with_name("other"), int(server.url.rsplit(":", 1)[1]))
    server.start()
    process = other.launch()
    assert process.wait(120) == 1
    assert "is taken" in other.output.read_text()
    assert not (other.directory / "postgres").exists()


def test_manage_uses_the_settings_of_the_server(server: Server) -> None:
    server.start()
    made = subprocess.run(
        ["script/manage", "createapikey", "another"],
        cwd=ROOT,
        env=server.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert server.run(made.stdout.strip(), "echo fine")["stdout"] == "fine\n"
