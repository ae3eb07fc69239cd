"""What the sandbox asks of a container engine. Every call is bounded in time and raises
`EngineUnavailable` when the engine does not answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sandbox.confinement import Confinement


class Attachment(Protocol):
    """A container's stdin and stdout. While it is open and not read, the container's output is
    blocked for everybody: close it as soon as it is not needed."""

    def send(self, data: bytes) -> None:
        """All of it; raises `ContainerLost` when the container has gone or takes nothing."""

    def recv(self, timeout: float) -> bytes:
        """What has come, at least one byte; b"" when the container has gone. Raises
        `TimeoutError` when nothing came in time."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerInfo:
    name: str
    labels: Mapping[str, str]
    running: bool
    created_at: datetime
    # Of the build that it was made from, whatever the image's name means by now; empty if unknown.
    image_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """Why a container does not run. `exit_code` is None when there is no such container."""

    exit_code: int | None
    oom_killed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    id: str
    created_at: datetime
    size_bytes: int
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What an engine says of itself."""

    version: str
    runtimes: frozenset[str]
    default_runtime: str
    cgroup_version: str
    # Limits that its kernel, or its own rights, do not let it keep.
    unsupported: tuple[str, ...]
    has_seccomp: bool
    # On its own host, which need not be this one.
    root_directory: str


class Engine(Protocol):
    def create(self, name: str, *, labels: Mapping[str, str], confinement: Confinement) -> None:
        """Create and start. Raises `ImageMissing`; leaves nothing behind when it fails."""

    def attach(self, name: str) -> Attachment:
        """Raises `ContainerLost` when it does not run."""

    def limit_cpu(self, name: str, cpus: float) -> None: ...

    def remove(self, name: str) -> None:
        """Kill and remove; success when there is no such container (any more)."""

    def list(self, installation: str = "") -> list[ContainerInfo]:
        """All containers of this installation, or of another one, running or not."""

    def death(self, name: str) -> Death | None:
        """None while it runs."""

    def new_uid(self) -> int:
        """For a container's programs, so that what the kernel counts by user, such as the pages of
        pipes, is not counted with those of other containers. The next two are free as well."""

    def ping(self) -> None: ...

    def info(self) -> EngineInfo: ...

    def image(self, name: str) -> ImageInfo | None:
        """What the name means now; None when there is no such image."""
