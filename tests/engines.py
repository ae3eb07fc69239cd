"""Docker engines of the tests' own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.service import wait_until


class PrivateEngine:
    """A Docker daemon with a directory and a socket of its own, and the OCI runtimes beside its
    own that are given: a name, and the command."""

    def __init__(
        self, directory: Path, runtimes: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.directory = directory
        self.runtimes = runtimes or {}
        self.host = f"unix://{directory}/docker.sock"
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # What a killed daemon leaves: it would take the old numbers for running processes.
        for left in ("docker.pid", "exec/containerd/containerd.pid"):
            (self.directory / left).unlink(missing_ok=True)
        configuration = self.directory / "daemon.json"
        runtimes = {
            name: {"path": path, "runtimeArgs": arguments}
            for name, (path, *arguments) in self.runtimes.items()
        }
        configuration.write_text(json.dumps({"runtimes": runtimes}))
        command = [
            # A second daemon would take down the first one's network, and a killed one leaves
            # mounts; both end with these namespaces.
            "unshare",
            "--net",
            "--mount",
            "dockerd",
            f"--config-file={configuration}",
            f"--host={self.host}",
            f"--data-root={self.directory}/data",
            f"--exec-root={self.directory}/exec",
            f"--pidfile={self.directory}/docker.pid",
            "--bridge=none",
            "--iptables=false",
        ]
        with (self.directory / "dockerd.log").open("ab") as log:
            self._daemon = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_until(lambda: self.command("version") == 0, seconds=60)

    def command(self, *arguments: str) -> int:
        command = ["docker", f"--host={self.host}", *arguments]
        return subprocess.run(command, capture_output=True, check=False).returncode

    def load(self, image: str) -> None:
        command = ["docker", f"--host={self.host}", "load"]
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
            subprocess.run(command, stdin=saved.stdout, check=True, capture_output=True)
        assert saved.returncode == 0

    def kill(self) -> None:
        """The daemon alone, as a crash would: containers and their shims are left."""
        assert self._daemon
        self._daemon.send_signal(signal.SIGKILL)
        self._daemon.wait()

    def stop(self) -> None:
        if self._daemon and self._daemon.poll() is None:
            self._daemon.terminate()
            self._daemon.wait(60)
        # Shims of containers that a killed daemon left and no later one took over.
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(FileNotFoundError, ProcessLookupError):
                if f"{self.directory}/exec/".encode() in process.read_bytes():
                    os.kill(int(process.parent.name), signal.SIGKILL)
