"""Every limit of a sandbox container, on one screen and in no engine's terms."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from keys.limits import Limits

# Not 1000: that is a person on most hosts.
SANDBOX_UID = 10001
MB = 1024 * 1024
# What the runner needs for itself, and the least that it gets.
RUNNER_OPEN_FILES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A directory in memory, which is all that a container can write to."""

    path: str
    size_bytes: int
    inodes: int
    uid: int = SANDBOX_UID
    mode: int = 0o755
    executable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    image: str
    runtime: str
    cpus: float
    memory_bytes: int  # Swap included, and the mounts' contents.
    pids: int
    mounts: tuple[Mount, ...]
    # The most that the runner can give to a program; it gives each run what that may have.
    open_files: int
    file_bytes: int
    # Of PID 1 alone; a program has none. To see to that takes SETPCAP, which is then given up.
    capabilities: tuple[str, ...] = ("SETUID", "SETGID", "KILL", "SETPCAP")
    hostname: str = "sandbox"


def confinement(limits: Limits | None = None, *, cpus: float | None = None) -> Confinement:
    """With a key's limits, or else the server's; for now with other `cpus`."""
    limits = limits or Limits.of()
    workspace_bytes = limits.workspace_mb * MB
    return Confinement(
        image=settings.SANDBOX_IMAGE,
        runtime=settings.SANDBOX_RUNTIME,
        cpus=limits.cpus if cpus is None else cpus,
        memory_bytes=limits.memory_mb * MB,
        pids=limits.pids,
        mounts=(
            Mount(path="/mnt/data", size_bytes=workspace_bytes, inodes=limits.inodes),
            Mount(
                path="/tmp",  # noqa: S108
                size_bytes=limits.tmp_mb * MB,
                inodes=limits.inodes,
                mode=0o1777,
            ),
            Mount(
                path="/dev/shm",  # noqa: S108
                size_bytes=limits.shm_mb * MB,
                inodes=limits.inodes,
                mode=0o1777,
                executable=False,
            ),
            # A program's source, where it can neither change it nor use up the room for it.
            Mount(
                path="/run/code",
                size_bytes=(settings.SANDBOX_BODY_MB + 1) * MB,
                inodes=100,
                uid=0,
                executable=False,
            ),
        ),
        # Not a key's own: the same container may serve it with other ones later.
        open_files=max(settings.SANDBOX_OPEN_FILES, RUNNER_OPEN_FILES),
        file_bytes=(max(settings.SANDBOX_WRITE_MB, settings.SANDBOX_WORKSPACE_MB) + 1) * MB,
    )
