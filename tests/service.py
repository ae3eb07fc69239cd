"""The whole service as an operator runs it: gunicorn and keeper on a real engine and database."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from tests import openapi

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """One of the service's processes, in a group of its own so that nothing of it stays."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        self._output = log.open("ab")
        self.popen = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(environment),
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, number)

    def stop(self, seconds: float = 60) -> None:
        if self.popen.poll() is None:
            os.kill(self.popen.pid, signal.SIGTERM)
            try:
                self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.send(signal.SIGKILL)
        self.kill()

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.popen.wait()
        self._output.close()


class Service:
    """Starts in __enter__ and leaves neither process nor container behind."""

    def __init__(
        self, *, directory: Path, database_url: str, settings: Mapping[str, str] | None = None
    ) -> None:
        self.directory = directory
        self.port = free_port()
        self.environment = {
            **os.environ,
            "SECRET_KEY": "only for tests",
            "DATABASE_URL": database_url,
            "SANDBOX_STORE_DIR": str(directory / "files"),
            "SANDBOX_INSTALLATION": f"test-{os.getpid()}-{self.port}",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "SANDBOX_POOL_SIZE": "1",
            # Runs, rows and containers are then those of the test.
            "HEALTH_RUN_SECONDS": "0",
            **(settings or {}),
        }
        self.key = ""
        self.api: Process | None = None
        self.keeper: Process | None = None
        self.others: list[Process] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Service:
        try:
            self.manage("migrate", "-v0")
            self.key = self.manage("createapikey", "tests").split()[-1]
            self.start_keeper()
            self.start_api()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self.api, *self.others, self.keeper):
            if process:
                process.stop()
        self.manage("shell", "-v0", "-c", "from sandbox import keeper; keeper.drain()")

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sql(self, code: str) -> str:
        """Python with the models at hand, in a process of its own."""
        return self.manage("shell", "-v0", "-c", "from audit.models import *\n" + code)

    def start_keeper(self) -> None:
        command = [sys.executable, "manage.py", "keeper"]
        self.keeper = Process(command, self.environment, self.directory / "keeper.log")

    def start_api(self) -> None:
        self.api = self._start_gunicorn(self.port)

    def start_another_api(self) -> str:
        """A second server on the same database, store and engine; returns its address."""
        port = free_port()
        self.others.append(self._start_gunicorn(port))
        return f"http://127.0.0.1:{port}"

    def _start_gunicorn(self, port: int) -> Process:
        process = Process(
            [sys.executable, "-m", "gunicorn", "-c", "interpreter_site/gunicorn.conf.py"],
            self.environment | {"PORT": str(port)},
            self.directory / f"api-{port}.log",
        )
        wait_for_health(f"http://127.0.0.1:{port}", process)
        return process

    def post(self, path: str, *, url: str = "", **arguments: Any) -> requests.Response:
        headers = {"X-API-Key": self.key, "User-Agent": "LibreChat/1.0"}
        return as_described(
            requests.post((url or self.url) + path, headers=headers, timeout=120, **arguments)
        )

    def get(self, path: str, *, url: str = "") -> requests.Response:
        headers = {"X-API-Key": self.key}
        return as_described(requests.get((url or self.url) + path, headers=headers, timeout=120))

    def run(self, code: str, *, lang: str = "py", url: str = "", **body: Any) -> dict[str, Any]:
        response = self.post("/exec", url=url, json={"lang": lang, "code": code, **body})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def resident_kb(self) -> int:
        """The memory that gunicorn and its workers have."""
        assert self.api
        listed = subprocess.run(
            ["ps", "-o", "rss=", "--sid", str(self.api.popen.pid)],
            capture_output=True,
            text=True,
            check=True,
        )
        return sum(map(int, listed.stdout.split()))

    def containers(self) -> dict[str, str]:
        """Name to state of what this service has on its engine."""
        listed = subprocess.run(
            [
                "docker",
                "ps",
                "--all",
                "--filter",
                f"label=interpreter.installation={self.environment['SANDBOX_INSTALLATION']}",
                "--format",
                "{{.Names}} {{.State}}",
            ],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return dict(line.split(maxsplit=1) for line in listed.stdout.splitlines())

    def container_of(self, session_id: str) -> str:
        return self.sql(
            f"print(SandboxContainer.objects.get(session={session_id!r}, ended_at=None).name)"
        ).strip()


def as_described(response: requests.Response) -> requests.Response:
    """Held against the API's description."""
    path = urlsplit(response.request.url or "").path
    method = response.request.method or ""
    openapi.check(method, path, response.status_code, response.headers, response.content)
    return response


def wait_for_health(url: str, process: Process) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.popen.poll() is not None:
            break
        # Accepted before a worker is there to answer, which takes its time on a busy machine.
        with suppress(requests.ConnectionError, requests.Timeout):
            if requests.get(url + "/health", timeout=5).ok:
                return
        time.sleep(0.1)
    raise AssertionError(f"The API did not start:\n{process.log.read_text()}")


def wait_until(condition: Any, *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
