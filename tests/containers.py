"""Containers for tests, of whichever engine: each call attaches, asks and detaches, as the
services do."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import pytest
from django.conf import settings

from audit.ids import new_id
from keys.limits import Limits
from sandbox.channel import (
    Channel,
    Collection,
    CollectLimits,
    CollectRequest,
    Entry,
    PutFile,
    RunLimits,
    RunResult,
)
from sandbox.confinement import Confinement, confinement
from sandbox.engines.base import Engine
from sandbox.engines.docker import INSTALLATION_LABEL, DockerEngine
from sandbox.errors import EngineUnavailable
from sandbox.services import executing
from sandbox.wire import Wire, nothing

MB = 1024 * 1024
LIMITS = CollectLimits(
    max_files=100, file_bytes=20 * MB, total_bytes=100 * MB, depth=5, path_bytes=100
)


def docker_engine() -> DockerEngine:
    """The real one. Without it the test is skipped, which script/test does not put up with."""
    engine = DockerEngine()
    try:
        engine.ping()
    except EngineUnavailable as error:
        reason = f"NOT tested, there is no Docker engine: {error}"
        if os.environ.get("REQUIRE_ENGINE") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return engine


def run_limits(**changes: float) -> RunLimits:
    """Of a run that asks for nothing else, unless `changes` say so."""
    values: dict[str, Any] = asdict(executing.run_limits(Limits.of(), None))
    return RunLimits(**(values | {"output_bytes": MB, "cpu_seconds": 60} | changes))


@dataclass(frozen=True)
class Sandbox:
    engine: Engine
    name: str

    def attach(self, heartbeat: Callable[[], None] = lambda: None) -> Channel:
        return Channel(self.engine.attach(self.name), heartbeat=heartbeat)

    def wire(self) -> Wire:
        """For what a channel does not do."""
        return Wire(self.engine.attach(self.name), nothing)

    def run(
        self,
        code: str | bytes,
        *args: str,
        language: str = "py",
        wall_seconds: float = 30,
        abandoned: Callable[[], bool] = lambda: False,
        **limits: int,
    ) -> RunResult:
        with self.attach() as channel:
            return channel.run(
                language=language,
                code=code if isinstance(code, bytes) else code.encode(),
                args=args,
                limits=run_limits(wall_seconds=wall_seconds, **limits),
                abandoned=abandoned,
            )

    def output(self, code: str, language: str = "py") -> str:
        """What a program prints that ends well and quietly."""
        result = self.run(code, language=language)
        assert (result.exit_code, result.reason, result.stderr) == (0, "exit", b""), result
        return result.stdout.decode()

    def bash(self, code: str) -> str:
        return self.output(code, "bash")

    def put(self, files: Mapping[str, bytes], **properties: bool) -> None:
        with self.attach() as channel:
            channel.put([put_file(name, data, **properties) for name, data in files.items()])

    def remove(self, names: Sequence[str]) -> None:
        with self.attach() as channel:
            channel.remove(names)

    def collect(
        self, known: Mapping[str, str] | None = None, **limits: int
    ) -> tuple[Collection, dict[str, bytes]]:
        """What there is, and the bytes of what is not known yet."""
        received: dict[str, bytes] = {}
        with self.attach() as channel:
            request = CollectRequest(known=known or {}, limits=replace(LIMITS, **limits))
            return channel.collect(request, sink_into(received)), received

    def files(self) -> dict[str, bytes]:
        return self.collect()[1]


def sink_into(received: dict[str, bytes]) -> Callable[[Entry], AbstractContextManager[io.BytesIO]]:
    """For a channel: what of a file has come whole, by its name."""

    @contextmanager
    def sink(entry: Entry) -> Iterator[io.BytesIO]:
        out = io.BytesIO()
        yield out
        received[entry.name] = out.getvalue()

    return sink


def put_file(
    name: str, data: bytes, *, executable: bool = False, read_only: bool = False
) -> PutFile:
    return PutFile(
        name=name,
        size=len(data),
        executable=executable,
        read_only=read_only,
        open=lambda: io.BytesIO(data),
    )


@contextmanager
def started(engine: Engine, confined: Confinement | None = None) -> Iterator[Sandbox]:
    name = f"interpreter-test-{new_id()}"
    labels = {INSTALLATION_LABEL: settings.SANDBOX_INSTALLATION}
    engine.create(name, labels=labels, confinement=confined or confinement())
    try:
        sandbox = Sandbox(engine, name)
        with sandbox.attach() as channel:
            channel.hello(timeout=60)
        yield sandbox
    finally:
        engine.remove(name)
