"""What script/server starts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import requests

from tests.service import ROOT

# The tests' own settings; script/server makes its own.
NOT_INHERITED = {
    "DATABASE_URL",
    "SECRET_KEY",
    "SANDBOX_IMAGE",
    "SANDBOX_INSTALLATION",
    "SANDBOX_STORE_DIR",
}
START_SECONDS = 300


class Server:
    """With its data in a directory, of this checkout or of another one."""

    def __init__(self, directory: Path, port: int, checkout: Path = ROOT) -> None:
        self.directory = directory
        self.checkout = checkout
        self.url = f"http://127.0.0.1:{port}"
        kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
        self.environment = {
            **kept,
            "DATA_DIR": str(directory),
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "SANDBOX_POOL_SIZE": "1",
        }
        self.output = directory.with_suffix(".out")
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self) -> subprocess.Popen[bytes]:
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                ["script/server"],
                cwd=self.checkout,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.process

    def start(self, seconds: float = START_SECONDS) -> str:
        """What it prints until it is ready."""
        process = self.launch()
        deadline = time.monotonic() + seconds
        while "Ctrl-C stops everything" not in self.output.read_text():
            assert process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.1)
        return self.output.read_text()

    def interrupt(self) -> int:
        """Ctrl-C reaches everything that the terminal has in its foreground."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(120)

    def child(self, command: str) -> int:
        assert self.process is not None
        listed = subprocess.run(
            ["ps", "--ppid", str(self.process.pid), "-o", "pid=,args="],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        [line] = [line for line in listed.splitlines() if command in line]
        return int(line.split()[0])

    def containers(self) -> list[str]:
        label = f"interpreter.installation={(self.directory / 'installation').read_text().strip()}"
        command = ["docker", "ps", "--all", "--quiet", "--filter", f"label={label}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    def processes(self) -> list[str]:
        """Of whatever has this installation's directory in its environment or its command."""
        wanted = str(self.directory).encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            if wanted in text:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found

    def run(self, key: str, code: str, **fields: str) -> dict[str, object]:
        answer = requests.post(
            f"{self.url}/run/exec/exec",
            json={"lang": "bash", "code": code, **fields},
            headers={"X-API-Key": key},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        body: dict[str, object] = answer.json()
        return body


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match, text
    return match[1]
