"""The container engine asked directly: for the comparison, and to look into our containers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import cast

# ruff: noqa: TID251 - what is measured against is docker-py itself.
import docker
import requests
from docker.errors import DockerException, NotFound
from docker.models.containers import Container

from bench.client import CallFailed

CPU_PERIOD = 100_000
MB = 1024 * 1024
# As programs in the interpreter have it, so that only the way of starting them differs.
ENVIRONMENT = {
    "HOME": "/mnt/data",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
FAILURES = (DockerException, requests.RequestException)


def connect() -> docker.DockerClient:
    return docker.from_env(timeout=120)


def describe(client: docker.DockerClient) -> str:
    info = client.info()
    return (
        f"Docker {info['ServerVersion']}, {info['Driver']},"
        f" cgroup v{info.get('CgroupVersion', '1')}"
    )


class PlainContainer(AbstractContextManager["PlainContainer"]):
    """What there is without an interpreter: a sleeping container and `docker exec`."""

    def __init__(
        self,
        client: docker.DockerClient,
        image: str,
        *,
        name: str,
        cpus: float,
        memory_mb: int,
        workspace_mb: int = 256,
    ) -> None:
        self._container: Container = client.containers.create(
            image,
            name=name,
            entrypoint=["sleep", "infinity"],
            user="sandbox",
            working_dir="/mnt/data",
            environment=ENVIRONMENT,
            network_mode="none",
            cpu_period=CPU_PERIOD,
            cpu_quota=int(cpus * CPU_PERIOD),
            mem_limit=memory_mb * MB,
            memswap_limit=memory_mb * MB,
            pids_limit=128,
            tmpfs={
                "/mnt/data": f"size={workspace_mb * MB},uid=10001,gid=10001,exec",
                "/tmp": f"size={64 * MB},mode=1777,exec",  # noqa: S108
            },
        )

    def __enter__(self) -> PlainContainer:
        try:
            self._container.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    def remove(self) -> None:
        try:
            self._container.remove(force=True, v=True)
        except NotFound:
            return

    def execute(self, command: list[str]) -> str:
        """Its standard output."""
        try:
            result = self._container.exec_run(command, demux=True)
        except FAILURES as error:
            raise CallFailed(f"{type(error).__name__}: {error}"[:120]) from error
        # Its type does not tell what `demux` gives.
        streams = cast("tuple[bytes | None, bytes | None]", result.output)
        stdout, stderr = ((stream or b"").decode(errors="replace") for stream in streams)
        if result.exit_code != 0:
            raise CallFailed(f"exit code {result.exit_code}: {stderr}"[:120])
        return stdout


def container_of(client: docker.DockerClient, container_id: str) -> Container:
    """The engine's container of one of the interpreter's rows."""
    (container,) = client.containers.list(
        filters={"label": f"interpreter.container={container_id}"}
    )
    return container


def process_ids(container: Container) -> list[int]:
    """Of its processes, as the host numbers them."""
    listed = container.top()
    column = listed["Titles"].index("PID")
    return [int(process[column]) for process in listed["Processes"]]


def remove_labelled(client: docker.DockerClient, label: str) -> None:
    for container in client.containers.list(all=True, filters={"label": label}):
        try:
            container.remove(force=True, v=True)
        except NotFound:
            continue
