"""A private service: what script/server starts, on a database and a store that go away again."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from bench import engine
from bench.client import Answer, CallFailed, Interpreter
from bench.records import Records

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "var" / "bench"
START_SECONDS = 120
STOP_SECONDS = 60


class ServiceFailed(Exception):
    """It did not start, or died."""


class Service(AbstractContextManager["Service"]):
    def __init__(self, *, label: str, settings: Mapping[str, str], results: Path = RESULTS) -> None:
        results.mkdir(parents=True, exist_ok=True)
        self._label = label
        self._results = results
        self._directory = Path(tempfile.mkdtemp(prefix=f"run-{os.getpid()}-", dir=results))
        # The database has a user of its own, who must get through to its directory.
        self._directory.chmod(0o755)
        self._port = free_port()
        self.store = self._directory / "files"
        self.installation = f"bench-{self._directory.name}"
        self._environment = {
            **os.environ,
            **settings,
            "SECRET_KEY": secrets.token_urlsafe(60),
            "SANDBOX_STORE_DIR": str(self.store),
            "SANDBOX_INSTALLATION": self.installation,
            "HOST": "127.0.0.1",
            "PORT": str(self._port),
            "PYTHONUNBUFFERED": "1",
            # A run in between would be measured, or found and not known.
            "HEALTH_RUN_SECONDS": "0",
        }
        # The service would prefer what these name.
        for secret_file in ("SECRET_KEY_FILE", "DATABASE_URL_FILE"):
            self._environment.pop(secret_file, None)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._records: Records | None = None
        self.base_url = f"http://127.0.0.1:{self._port}"
        self.api_key = ""
        self.pool_size = int(self._environment.get("SANDBOX_POOL_SIZE", "2"))

    @property
    def records(self) -> Records:
        if self._records is None:
            raise ServiceFailed("the service has not been started")
        return self._records

    @property
    def database_url(self) -> str:
        return self._environment["DATABASE_URL"]

    @property
    def pids(self) -> dict[str, int]:
        """Of the processes that have been started, by name; their children are not among them."""
        postmaster = (self._directory / "db" / "postmaster.pid").read_text().split()[0]
        started = {name: process.pid for name, process in self._processes.items()}
        return started | {"postgres": int(postmaster)}

    def another_key(self) -> str:
        return self._manage("createapikey", "another").split()[-1]

    def __enter__(self) -> Service:
        try:
            self._environment["DATABASE_URL"] = self._postgres("start")
            self._manage("migrate", "--no-input", "--verbosity", "0")
            self.api_key = self._manage("createapikey", "bench").split()[-1]
            self._records = Records(self._environment["DATABASE_URL"], self.pool_size)
            self._start(
                "gunicorn", "-m", "gunicorn", "--config", "interpreter_site/gunicorn.conf.py"
            )
            self._start("keeper", "manage.py", "keeper", "--drain")
            self._wait_until_it_answers()
            self.records.wait_for_pool(seconds=START_SECONDS, look=self._fail_if_one_died)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        if self._records:
            self._records.close()
        for process in self._processes.values():
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        # The keeper has removed them, unless it was what died.
        engine.remove_labelled(engine.connect(), f"interpreter.installation={self.installation}")
        self._postgres("stop")
        shutil.rmtree(self._directory)

    def _postgres(self, action: str) -> str:
        return self._run(str(ROOT / "script" / "postgres"), action, str(self._directory / "db"))

    def _manage(self, *arguments: str) -> str:
        return self._run(sys.executable, "manage.py", *arguments)

    def _run(self, *command: str) -> str:
        done = subprocess.run(  # noqa: S603 - the commands are ours
            command,
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServiceFailed(f"{' '.join(command)} failed:\n{done.stderr}")
        return done.stdout.strip()

    def _start(self, name: str, *arguments: str) -> None:
        with self._log(name).open("wb") as log:
            # A session of its own, so that Ctrl-C reaches us first; and should we be killed, the
            # kernel tells it.
            self._processes[name] = subprocess.Popen(  # noqa: S603 - the commands are ours
                ["setpriv", "--pdeathsig", "TERM", "--", sys.executable, *arguments],  # noqa: S607
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _log(self, name: str) -> Path:
        return self._results / f"{self._label}-{name}.log"

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                answer: Answer = Interpreter(self.base_url, self.api_key).execute("py", "print(1)")
            except CallFailed as error:
                self._fail_if_one_died()
                if time.monotonic() > deadline:
                    raise ServiceFailed(f"the service does not answer: {error}") from error
                time.sleep(0.2)
            else:
                if answer["stdout"] != "1\n":
                    raise ServiceFailed(f"the service answers wrongly: {answer}")
                return

    def _fail_if_one_died(self) -> None:
        for name, process in self._processes.items():
            if process.poll() is not None:
                lines = self._log(name).read_text().splitlines()
                raise ServiceFailed("\n".join([f"{name} has ended:", *lines[-20:]]))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
