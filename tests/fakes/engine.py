"""An engine without Docker: the same runner over the same protocol, but in a thread, with its
programs as plain processes in a directory of their own. It confines nothing."""

from __future__ import annotations

import logging
import select
import shutil
import socket
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings

from sandbox.confinement import SANDBOX_UID, Confinement
from sandbox.engines.base import Attachment, ContainerInfo, Death, EngineInfo, ImageInfo
from sandbox.errors import ContainerLost, EngineUnavailable, ImageMissing
from sandbox.runner.chores import Chores
from sandbox.runner.server import Server
from sandbox.runner.stream import Stream
from tests.fakes.processes import FakeSupervisor, layout

logger = logging.getLogger(__name__)

INSTALLATION_LABEL = "interpreter.installation"


class FakeEngine:
    def __init__(self) -> None:
        # Like an engine that has been stopped.
        self.down = False
        self.created: list[str] = []
        self.removed: list[str] = []
        self.cpus: dict[str, float] = {}
        # As they were asked for, and kept by none of them.
        self.confinements: dict[str, Confinement] = {}
        # The build that a name means, as if every image were there; None: this one is not.
        self.builds: dict[str, str | None] = {}
        self._containers: dict[str, FakeContainer] = {}

    def kill(self, name: str, *, oom: bool = False) -> None:
        """As if somebody had killed the container, or the kernel its first process."""
        self._containers[name].kill(oom=oom)

    def create(self, name: str, *, labels: Mapping[str, str], confinement: Confinement) -> None:
        self._answer()
        if name in self._containers:
            raise EngineUnavailable(f"The container engine failed: {name} exists")
        if (image := self.image(confinement.image)) is None:
            raise ImageMissing("The sandbox image is missing; run script/bootstrap")
        self._containers[name] = FakeContainer(name, labels, image.id)
        self.cpus[name] = confinement.cpus
        self.confinements[name] = confinement
        self.created.append(name)

    def new_uid(self) -> int:
        return SANDBOX_UID

    def attach(self, name: str) -> Attachment:
        container = self._find(name)
        if not container.running:
            raise ContainerLost(f"Container {name} does not run")
        return FakeAttachment(container)

    def limit_cpu(self, name: str, cpus: float) -> None:
        self._find(name)
        self.cpus[name] = cpus

    def remove(self, name: str) -> None:
        self._answer()
        container = self._containers.pop(name, None)
        if container is not None:
            container.remove()
            self.removed.append(name)

    def list(self, installation: str = "") -> list[ContainerInfo]:
        self._answer()
        return [
            container.info()
            for container in list(self._containers.values())
            if container.labels.get(INSTALLATION_LABEL)
            == (installation or settings.SANDBOX_INSTALLATION)
        ]

    def death(self, name: str) -> Death | None:
        self._answer()
        container = self._containers.get(name)
        return container.death if container else Death(exit_code=None)

    def ping(self) -> None:
        self._answer()

    def info(self) -> EngineInfo:
        self._answer()
        return EngineInfo(
            version="0",
            runtimes=frozenset({"runc"}),
            default_runtime="runc",
            cgroup_version="2",
            unsupported=(),
            has_seccomp=False,
            root_directory="",
        )

    def image(self, name: str) -> ImageInfo | None:
        self._answer()
        build = self.builds.get(name, f"build of {name}")
        if build is None:
            return None
        made = datetime(2026, 1, 1, tzinfo=UTC)
        return ImageInfo(id=build, created_at=made, size_bytes=0, labels={})

    def _answer(self) -> None:
        if self.down:
            raise EngineUnavailable("The container engine failed: it is down")

    def _find(self, name: str) -> FakeContainer:
        self._answer()
        try:
            return self._containers[name]
        except KeyError:
            raise ContainerLost(f"There is no container {name}") from None


class FakeContainer:
    def __init__(self, name: str, labels: Mapping[str, str], image_id: str) -> None:
        self.name = name
        self.image_id = image_id
        self.labels = dict(labels)
        self.created_at = datetime.now(UTC)
        self.death: Death | None = None
        self.root = Path(tempfile.mkdtemp(prefix="fake-container-"))
        self.stdin, self._incoming = socket.socketpair()
        self.stdout, self._outgoing = socket.socketpair()
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self.death is None

    def info(self) -> ContainerInfo:
        return ContainerInfo(
            name=self.name,
            labels=self.labels,
            running=self.running,
            created_at=self.created_at,
            image_id=self.image_id,
        )

    def kill(self, *, oom: bool = False) -> None:
        self.death = self.death or Death(exit_code=137, oom_killed=oom)
        for end in (self.stdin, self.stdout):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def remove(self) -> None:
        self.kill()
        self.stdin.close()
        self.stdout.close()
        shutil.rmtree(self.root)

    def _live(self) -> None:
        place = layout(self.root)
        stream = Stream(self._incoming.fileno(), self._outgoing.fileno())
        supervisor = FakeSupervisor(Chores(place, stream))
        try:
            Server(stream, place, supervisor).serve()
        except (EOFError, OSError) as error:
            logger.debug("%s: the runner ends: %r", self.name, error)
        except Exception:
            # Whatever a runner dies of, its container dies of, and nothing else does.
            logger.exception("%s: the runner died", self.name)
        finally:
            self.death = self.death or Death(exit_code=1)
            supervisor.end()
            self._incoming.close()
            self._outgoing.close()


class FakeAttachment:
    def __init__(self, container: FakeContainer) -> None:
        self._stdin = container.stdin
        self._stdout = container.stdout
        self._closed = False

    def send(self, data: bytes) -> None:
        try:
            self._stdin.sendall(data)
        except OSError as error:
            raise ContainerLost("The container takes no data") from error

    def recv(self, timeout: float) -> bytes:
        if self._closed or self._stdout.fileno() < 0:
            return b""
        readable, _, _ = select.select([self._stdout], [], [], timeout)
        if not readable:
            raise TimeoutError
        try:
            return self._stdout.recv(256 * 1024)
        except OSError:
            return b""

    def close(self) -> None:
        self._closed = True
