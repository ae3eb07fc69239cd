"""The same image as a careless server would run it: as root, with the engine's defaults."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.conf import settings

from sandbox.engines.docker import INSTALLATION_LABEL
from tests.attacks.programs import Program
from tests.attacks.target import Answer

INTERPRETERS = {"py": "python3", "bash": "bash", "js": "node"}
SOURCE = "/mnt/data/main"
# Not for the attacks, but for the sake of this machine.
CAREFUL = ("--memory=1g", "--memory-swap=1g", "--pids-limit=600", "--cpus=1.5")
TIMED_OUT = 124


@dataclass(frozen=True)
class Unconfined:
    name: str

    def run(self, program: Program, session_id: str = "") -> Answer:
        """What the API would answer, as far as it can be told from outside."""
        self._execute(f"cat > {SOURCE}", stdin=program.source())
        seconds = program.timeout / 1000
        done = self._execute(f"timeout {seconds} {INTERPRETERS[program.language]} {SOURCE}")
        answer: Answer = {
            "session_id": self.name,
            "stdout": done.stdout,
            "stderr": done.stderr,
            "code": done.returncode,
            "status": "TO" if done.returncode == TIMED_OUT else None,
            "files": [],
        }
        return answer

    def _execute(self, command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", "exec", "-i", "-w", "/mnt/data", self.name, "/bin/sh", "-c", command],
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=120,
            check=False,
        )


@contextmanager
def unconfined(*options: str) -> Iterator[Unconfined]:
    label = f"{INSTALLATION_LABEL}={settings.SANDBOX_INSTALLATION}"
    command = ["docker", "run", "-d", "--label", label, *CAREFUL, *options]
    # It needs a way to be told to end, which process 1 does not have by itself.
    command += ["--init", "--entrypoint", "sleep", settings.SANDBOX_IMAGE, "900"]
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield Unconfined(name)
    finally:
        subprocess.run(["docker", "rm", "-f", name], check=True, capture_output=True)
