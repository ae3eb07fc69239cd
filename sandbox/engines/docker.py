"""Docker, or whatever speaks its API, at DOCKER_HOST or the local socket."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import docker
import requests
from django.conf import settings
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.transport import UnixHTTPAdapter
from docker.types import LogConfig, Ulimit
from docker.utils import kwargs_from_env, parse_host

from sandbox import seccomp
from sandbox.confinement import Confinement, Mount
from sandbox.engines.base import Attachment, ContainerInfo, Death, EngineInfo, ImageInfo
from sandbox.engines.facts import engine_info, image_info
from sandbox.engines.hijacked import HijackedConnection
from sandbox.engines.upgrading import Refused, upgrade
from sandbox.errors import ContainerLost, EngineUnavailable, ImageMissing
from sandbox.metrics import ENGINE_ERRORS

INSTALLATION_LABEL = "interpreter.installation"
# The image's own id. What the engine says of a container is, with some image stores, another one.
BUILD_LABEL = "interpreter.build"
# Of any one call. A container that starts on a busy machine is what takes longest.
CALL_SECONDS = 30
CPU_PERIOD = 100_000
# Three for each container. Nobody's on any host; an engine that maps them has 65,536 as a rule.
UIDS = range(1_000_000_000, 2_000_000_000, 4)
MAPPED_UIDS = range(20_000, 60_000, 4)
# gVisor's kernel is a process of the host, and has some threads there for each process of its own,
# dozens where these are many. When it gets no more, the whole container ends.
HOST_TASKS_OF_GVISOR = 64


ATTACH = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
ATTACH_QUERY = urlencode(ATTACH)
UNIX = "http+unix://"


def _status(error: Refused | APIError) -> int | None:
    return error.status if isinstance(error, Refused) else error.status_code


@contextmanager
def _reporting(name: str = "") -> Iterator[None]:
    """A dead engine raises requests' exceptions, which are not docker's."""
    try:
        yield
    except ImageNotFound as error:
        ENGINE_ERRORS.labels("image_missing").inc()
        raise ImageMissing(
            f"The sandbox image is missing; run script/bootstrap ({error.explanation})"
        ) from error
    except NotFound as error:
        ENGINE_ERRORS.labels("container_missing").inc()
        raise ContainerLost(f"There is no container {name}") from error
    except (DockerException, requests.RequestException, Refused, OSError) as error:
        ENGINE_ERRORS.labels("unavailable").inc()
        raise EngineUnavailable(f"The container engine failed: {error}") from error


class DockerEngine:
    def __init__(self, call_seconds: int = CALL_SECONDS) -> None:
        self._call_seconds = call_seconds
        # The client is not safe to share between threads.
        self._local = threading.local()
        self._version = ""
        self._uids: range | None = None
        host = str(parse_host(kwargs_from_env().get("base_url")))
        self._socket_path = host.removeprefix(UNIX) if host.startswith(UNIX) else ""

    def create(self, name: str, *, labels: Mapping[str, str], confinement: Confinement) -> None:
        with _reporting(name):
            client = self._client()
            config = client.create_host_config(**host_config(confinement))
            # docker-py has no argument for it.
            config["MaskedPaths"] = list(confinement.masked_paths)
            build = client.inspect_image(confinement.image)["Id"]  # type: ignore[no-untyped-call]
            client.create_container(
                confinement.image,
                name=name,
                hostname=confinement.hostname,
                labels={**labels, BUILD_LABEL: build},
                stdin_open=True,
                # Without this, docker-py has stdin closed as soon as the first client detaches.
                detach=True,
                network_disabled=True,
                # PID 1 ignores SIGTERM, for which an engine that shuts down would wait in vain.
                stop_signal="SIGKILL",
                host_config=config,
            )
        try:
            with _reporting(name):
                client.start(name)
        except BaseException:
            with suppress(EngineUnavailable):
                self.remove(name)
            raise

    def attach(self, name: str) -> Attachment:
        with _reporting(name):
            try:
                if self._socket_path:
                    version = self._version or self._client().api_version
                    target = f"/v{version}/containers/{name}/attach?{ATTACH_QUERY}"
                    upgraded = upgrade(self._socket_path, target, seconds=self._call_seconds)
                else:
                    upgraded = self._client().attach_socket(name, ATTACH)
            except (Refused, APIError) as error:
                if _status(error) not in (requests.codes.conflict, requests.codes.not_found):
                    raise
                raise ContainerLost(f"Container {name} does not run") from error
        return HijackedConnection(upgraded, is_alive=lambda: self.death(name) is None)

    def limit_cpu(self, name: str, cpus: float) -> None:
        with _reporting(name):
            self._client().update_container(
                name, cpu_period=CPU_PERIOD, cpu_quota=int(cpus * CPU_PERIOD)
            )

    def remove(self, name: str) -> None:
        with _reporting(name):
            try:
                # Can be in vain, until the call's time is over, while another process stays
                # attached and does not read: the engine waits until it has had all output.
                self._client().remove_container(name, force=True, v=True)
            except NotFound:
                pass
            except APIError as error:
                # Somebody else is removing it already.
                if error.status_code != requests.codes.conflict:
                    raise

    def list(self, installation: str = "") -> list[ContainerInfo]:
        label = f"{INSTALLATION_LABEL}={installation or settings.SANDBOX_INSTALLATION}"
        with _reporting():
            found = self._client().containers(all=True, filters={"label": label})
        return [
            ContainerInfo(
                name=container["Names"][0].removeprefix("/"),
                labels=container["Labels"],
                running=container["State"] == "running",
                created_at=datetime.fromtimestamp(container["Created"], UTC),
                image_id=container["Labels"].get(BUILD_LABEL, ""),
            )
            for container in found
            # A container that is being removed can have lost its names already.
            if container["Names"]
        ]

    def death(self, name: str) -> Death | None:
        with _reporting(name):
            try:
                state = self._client().inspect_container(name)["State"]
            except NotFound:
                return Death(exit_code=None)
        if state["Running"]:
            return None
        return Death(exit_code=state["ExitCode"], oom_killed=state["OOMKilled"])

    def new_uid(self) -> int:
        if self._uids is None:
            with _reporting():
                options = self._client().info().get("SecurityOptions") or []
            mapped = any(name in option for option in options for name in ("userns", "rootless"))
            self._uids = MAPPED_UIDS if mapped else UIDS
        return secrets.choice(self._uids)

    def ping(self) -> None:
        with _reporting():
            self._client().ping()

    def info(self) -> EngineInfo:
        with _reporting():
            return engine_info(self._client().info())

    def image(self, name: str) -> ImageInfo | None:
        with _reporting():
            try:
                return image_info(self._client().inspect_image(name))  # type: ignore[no-untyped-call]
            except ImageNotFound:
                return None

    def _client(self) -> docker.APIClient:
        client: docker.APIClient | None = getattr(self._local, "client", None)
        if client is None:
            client = docker.APIClient(
                version=self._version or "auto", timeout=self._call_seconds, **kwargs_from_env()
            )
            if self._socket_path:
                # Its own one keeps a connection open for each of the last 25 URLs, which have
                # containers' names in them, and does not listen to `num_pools`.
                url = UNIX + self._socket_path
                adapter = UnixHTTPAdapter(url, self._call_seconds, pool_connections=1)
                client.mount("http+docker://", adapter)
            # To ask for it takes a call, and there are as many clients as threads.
            self._version = client.api_version
            # Neither a proxy nor a password from ~/.netrc is for a socket, and to look for them
            # takes longer than the call.
            client.trust_env = not self._socket_path
            self._local.client = client
        return client


def host_config(confinement: Confinement) -> dict[str, Any]:
    """The confinement in Docker's terms, with all the traps."""
    return {
        "network_mode": "none",
        "cap_drop": ["ALL"],
        "cap_add": list(confinement.capabilities),
        "security_opt": ["no-new-privileges", f"seccomp={_seccomp(confinement)}"],
        "read_only": True,
        # Docker's own /dev/shm has no limit on inodes, so it gets a mount like the others.
        "tmpfs": {mount.path: _mount_options(mount) for mount in confinement.mounts},
        "ipc_mode": "private",
        # Otherwise these would outlive the processes that a run leaves behind, and hold memory.
        "sysctls": {"kernel.shm_rmid_forced": "1", "kernel.msgmni": "0"},
        "cgroupns": "private",
        "mem_limit": confinement.memory_bytes,
        # Memory and swap together, so that there is none of the latter.
        "memswap_limit": confinement.memory_bytes,
        # With `nano_cpus` instead, a later update of the limit is refused.
        "cpu_period": CPU_PERIOD,
        "cpu_quota": int(confinement.cpus * CPU_PERIOD),
        "pids_limit": confinement.pids * (HOST_TASKS_OF_GVISOR if confinement.under_gvisor else 1),
        "ulimits": [
            Ulimit(name=name, soft=value, hard=value) for name, value in _ulimits(confinement)
        ],
        # Otherwise the engine writes all that goes through stdout to the host's disk.
        "log_config": LogConfig(type="none"),
        # The runner must be PID 1: only then do orphans become its children.
        "init": False,
        "restart_policy": {"Name": "no"},
        "runtime": confinement.runtime or None,
    }


def _seccomp(confinement: Confinement) -> str:
    profile = confinement.seccomp
    return seccomp.for_gvisor(profile) if confinement.under_gvisor else profile


def _ulimits(confinement: Confinement) -> Iterator[tuple[str, int]]:
    yield "nofile", confinement.open_files
    yield "fsize", confinement.file_bytes
    # Not 0, with which the host's handler of core dumps, if any, would still be started.
    yield "core", 1
    yield "memlock", 0
    yield "msgqueue", 0
    # Processes: only where each container has a kernel of its own. The host's counts those of a
    # uid in all containers together.
    if confinement.under_gvisor:
        yield "nproc", confinement.pids


def _mount_options(mount: Mount) -> str:
    options = [
        f"size={mount.size_bytes}",
        f"nr_inodes={mount.inodes}",
        f"uid={mount.uid}",
        f"gid={mount.uid}",
        f"mode={mount.mode:o}",
        "nosuid",
        "nodev",
        # The engine's default is noexec.
        "exec" if mount.executable else "noexec",
    ]
    return ",".join(options)
