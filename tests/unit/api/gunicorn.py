"""The API as it is deployed, on a free port of the loopback interface."""

from __future__ import annotations

import http.client
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings

from interpreter_site.connections import Patience
from interpreter_site.worker import PatientWorker
from tests.service import START_SECONDS, Process, free_port

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse


class HurriedWorker(PatientWorker):
    head_seconds = 1
    patience = Patience(seconds=1)


def broken(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
    """An application that only claims to be healthy."""
    if environ["PATH_INFO"] != "/health":
        raise RuntimeError("something of the inside")
    start_response("200 OK", [("Content-Type", "application/json")])
    return [b'{"status":"ok"}']


@dataclass(frozen=True)
class Server:
    port: int
    store: Path
    log_file: Path

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def http(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def log(self) -> str:
        return self.log_file.read_text()

    def stored(self) -> list[Path]:
        return [path for path in self.store.rglob("*") if path.is_file()]


def database_url() -> str:
    """Of the tests' database, which is beside the one that the environment names."""
    url = urlsplit(os.environ["DATABASE_URL"])
    path = PurePosixPath(url.path).with_name(settings.DATABASES["default"]["NAME"])
    return url._replace(path=str(path)).geturl()


@contextmanager
def serving(directory: Path, *arguments: str, **environment: str) -> Iterator[Server]:
    server = Server(free_port(), directory / "store", directory / "gunicorn.log")
    variables = {
        "HOST": "127.0.0.1",
        "PORT": str(server.port),
        "WEB_WORKERS": "1",
        "ACCESS_LOG": "1",
        "GRACEFUL_SECONDS": "5",
        "SANDBOX_ENGINE": "tests.fakes.engine.FakeEngine",
        "SANDBOX_STORE_DIR": str(server.store),
    }
    command = [sys.executable, "-m", "gunicorn", "-c", "interpreter_site/gunicorn.conf.py"]
    process = Process([*command, *arguments], os.environ | variables | environment, server.log_file)
    try:
        wait_until_healthy(server, process)
        yield server
    finally:
        process.stop()


def wait_until_healthy(server: Server, process: Process) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.popen.poll() is None:
        connection = server.http()
        try:
            connection.request("GET", "/health")
            if connection.getresponse().read() == b'{"status":"ok"}':
                return
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    raise RuntimeError(f"gunicorn did not start:\n{server.log()}")
