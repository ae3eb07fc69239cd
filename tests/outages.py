"""An engine, a database and a disk of the tests' own, which nobody else misses when they fail."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.service import ROOT, wait_until


class PrivateEngine:
    """A Docker daemon with a directory and a socket of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.host = f"unix://{directory}/docker.sock"
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # What a killed daemon leaves: it would take the old numbers for running processes.
        for left in ("docker.pid", "exec/containerd/containerd.pid"):
            (self.directory / left).unlink(missing_ok=True)
        command = [
            # A second daemon would take down the first one's network, and a killed one leaves
            # mounts; both end with these namespaces.
            "unshare",
            "--net",
            "--mount",
            "dockerd",
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


def postgres(action: str, data: Path) -> str:
    command = [str(ROOT / "script" / "postgres"), action, str(data)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[None]:
    path.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs"]
    subprocess.run(["mount", *options, path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def processes_of(data: Path) -> Iterator[Path]:
    """The database server's, by their directories in /proc."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if (process / "cwd").resolve() == data.resolve():
                yield process


def crash(data: Path) -> None:
    """All of the server's processes at once, with what they had not written out yet."""
    for process in list(processes_of(data)):
        with suppress(ProcessLookupError):
            os.kill(int(process.name), signal.SIGKILL)


def hold_back_log(data: Path) -> None:
    """From now on a commit that nobody waits for stays in memory."""
    for process in processes_of(data):
        if b"walwriter" in (process / "cmdline").read_bytes():
            os.kill(int(process.name), signal.SIGSTOP)
