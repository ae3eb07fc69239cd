"""Every limit of a sandbox container, on one screen and in no engine's terms."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

# Not 1000: that is a person on most hosts.
SANDBOX_UID = 10001
MB = 1024 * 1024
# In all names that gVisor's own instructions give to the runtime.
GVISOR = "runsc"


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
    open_files: int
    file_bytes: int
    # Of PID 1 alone; a program has none. To see to that takes SETPCAP, which is then given up.
    capabilities: tuple[str, ...] = ("SETUID", "SETGID", "KILL", "SETPCAP")
    hostname: str = "sandbox"

    @property
    def under_gvisor(self) -> bool:
        """Whether the container has a kernel of its own, which is a process of the host."""
        return GVISOR in self.runtime


def confinement() -> Confinement:
    workspace_bytes = settings.SANDBOX_WORKSPACE_MB * MB
    return Confinement(
        image=settings.SANDBOX_IMAGE,
        runtime=settings.SANDBOX_RUNTIME,
        cpus=settings.SANDBOX_CPUS,
        memory_bytes=settings.SANDBOX_MEMORY_MB * MB,
        pids=settings.SANDBOX_PIDS,
        mounts=(
            Mount(path="/mnt/data", size_bytes=workspace_bytes, inodes=settings.SANDBOX_INODES),
            Mount(
                path="/tmp",  # noqa: S108
                size_bytes=settings.SANDBOX_TMP_MB * MB,
                inodes=settings.SANDBOX_INODES,
                mode=0o1777,
            ),
            Mount(
                path="/dev/shm",  # noqa: S108
                size_bytes=settings.SANDBOX_SHM_MB * MB,
                inodes=settings.SANDBOX_INODES,
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
        open_files=settings.SANDBOX_OPEN_FILES,
        # Out of the workspace's reach: what fills it is to get the error for that, not a signal.
        file_bytes=workspace_bytes + MB,
    )
