"""Ways for a part of the service to end in the middle of its work."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from tests.engines import PrivateEngine
from tests.outages import crash, postgres
from tests.service import Service

# How long what has to be started again is away.
AWAY_SECONDS = 3.0


class Chaos:
    def __init__(self, service: Service, engine: PrivateEngine, database: Path, disk: Path) -> None:
        self.service = service
        self.engine = engine
        self.database = database
        self.disk = disk
        # When a connection may have ended without an answer: the process that held it was killed.
        self.deaths: list[tuple[float, float]] = []

    # --- a container and what is in it ---

    def container(self) -> None:
        for name in self._some_containers():
            self.docker("kill", name)

    def runner(self) -> None:
        for name in self._some_containers():
            kill(int(self.docker("inspect", "--format", "{{.State.Pid}}", name) or 0))

    def zygote(self) -> None:
        """Of every container, with its spare."""
        for name in self.service.containers():
            for line in self.docker("top", name, "-eo", "pid,comm").splitlines()[1:]:
                pid, _, command = line.strip().partition(" ")
                if command.strip() == "zygote":
                    kill(int(pid))

    # --- our own processes ---

    def keeper(self) -> None:
        assert self.service.keeper
        self.service.keeper.kill()
        time.sleep(AWAY_SECONDS)
        self.service.start_keeper()

    def worker(self) -> None:
        """gunicorn starts another one."""
        assert self.service.api
        killed = time.monotonic()
        kill(random.choice(children(self.service.api.popen.pid)))  # noqa: S311 - no secret
        self.deaths.append((killed, time.monotonic() + 1))

    def gunicorn(self) -> None:
        assert self.service.api
        killed = time.monotonic()
        self.service.api.kill()
        time.sleep(AWAY_SECONDS)
        self.service.start_api()
        self.deaths.append((killed, time.monotonic()))

    # --- what the service stands on ---

    def dockerd(self) -> None:
        self.engine.kill()
        time.sleep(AWAY_SECONDS)
        self.engine.start()

    def postgres_stops(self) -> None:
        postgres("stop", self.database)
        time.sleep(AWAY_SECONDS)
        postgres("start", self.database)

    def postgres_crashes(self) -> None:
        crash(self.database)
        time.sleep(AWAY_SECONDS)
        postgres("start", self.database)

    def full_disk(self) -> None:
        filler = self.disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(64 * 1024))
        time.sleep(AWAY_SECONDS)
        filler.unlink()

    def _some_containers(self) -> list[str]:
        """Half of them; some run a program, some wait."""
        names = sorted(self.service.containers())
        return random.sample(names, (len(names) + 1) // 2)

    def docker(self, *arguments: str) -> str:
        """Nothing where the container has gone meanwhile."""
        command = ["docker", f"--host={self.engine.host}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def kill(pid: int) -> None:
    """Of a container that has just ended the engine says 0, which would be ourselves."""
    if pid > 0:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]
