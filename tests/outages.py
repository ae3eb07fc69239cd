"""A service whose engine, database and disk are the tests' own: nobody else misses them when they
fail."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.engines import PrivateEngine
from tests.service import ROOT, Service

STORE_MB = 16


@dataclass(frozen=True)
class Place:
    service: Service
    engine: PrivateEngine
    database: Path
    # Of so many megabytes, and where its files are.
    disk: Path


@contextmanager
def place_of_its_own(
    engine: PrivateEngine, directory: Path, settings: dict[str, str] | None = None
) -> Iterator[Place]:
    database, disk = directory / "postgres", directory / "disk"
    with small_disk(disk, STORE_MB):
        try:
            service = Service(
                directory=directory,
                database_url=postgres("start", database),
                settings={
                    "DOCKER_HOST": engine.host,
                    "SANDBOX_STORE_DIR": str(disk / "files"),
                }
                | (settings or {}),
            )
            with service:
                yield Place(service, engine, database, disk)
        finally:
            postgres("stop", database)


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
