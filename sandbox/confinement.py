"""Every limit of a sandbox container, on one screen and in no engine's terms."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cache

from django.conf import settings

from keys.limits import Limits
from sandbox import seccomp

# Of programs in a container without a user of its own. Not 1000: that is a person on most hosts.
SANDBOX_UID = 10001
MB = 1024 * 1024
# In all names that gVisor's own instructions give to the runtime.
GVISOR = "runsc"
# What the runner needs for itself, and the least that it gets.
RUNNER_OPEN_FILES = 1024
# What a container would be told of its host otherwise: how it was booted and built, what is plugged
# in, what it is busy with. It takes the place of the engine's own list, and holds what Docker's did
# when it was written: whatever a later engine masks besides has to be added here.
MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/cmdline",
    "/proc/config.gz",
    "/proc/diskstats",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/locks",
    "/proc/modules",
    "/proc/partitions",
    "/proc/pressure",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/softirqs",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)


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
    seccomp: str  # A profile, as JSON.
    # Of PID 1 alone; a program has none. To see to that takes SETPCAP, which is then given up.
    capabilities: tuple[str, ...] = ("SETUID", "SETGID", "KILL", "SETPCAP")
    masked_paths: tuple[str, ...] = MASKED_PATHS
    hostname: str = "sandbox"

    def of_user(self, uid: int) -> Confinement:
        """With programs of that uid, which the runner takes from whose the workspace is; it has the
        next two for itself."""
        mounts = tuple(replace(mount, uid=uid) if mount.uid else mount for mount in self.mounts)
        return replace(self, mounts=mounts)

    @property
    def digest(self) -> str:
        """Differs as soon as any limit does."""
        return _digest_of(self)

    @property
    def under_gvisor(self) -> bool:
        """Whether the container has a kernel of its own, which is a process of the host."""
        return GVISOR in self.runtime


@cache
def _digest_of(confinement: Confinement) -> str:
    """Each request asks for it, and a profile is long."""
    return hashlib.sha256(repr(confinement).encode()).hexdigest()[:12]


def confinement(limits: Limits | None = None, image: str = "") -> Confinement:
    """With a key's limits and image, or else the server's."""
    limits = limits or Limits.of()
    workspace_bytes = limits.workspace_mb * MB
    return Confinement(
        image=image or settings.SANDBOX_IMAGE,
        runtime=settings.SANDBOX_RUNTIME,
        cpus=limits.cpus,
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
        seccomp=seccomp.profile(settings.SANDBOX_SECCOMP),
    )
