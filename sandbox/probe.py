"""A sandbox container of the doctor's own, to try out what holds in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from django.conf import settings

from audit.ids import new_id
from sandbox.channel import Channel, RunLimits, RunResult
from sandbox.claiming import never
from sandbox.confinement import Confinement, confinement
from sandbox.engines import engine
from sandbox.errors import EngineUnavailable, SandboxError
from sandbox.pool import START_SECONDS

HOT_SECONDS = 30.0
MB = 1024 * 1024


def installation() -> str:
    """Not the service's: its keeper removes what it does not know."""
    return f"{settings.SANDBOX_INSTALLATION}-doctor"


def remove_strays() -> None:
    """What a doctor that was killed has left."""
    for info in engine().list(installation()):
        engine().remove(info.name)


@dataclass(frozen=True)
class Probe:
    name: str

    def run(self, code: str, *, wall_seconds: float = 60, **changes: int) -> RunResult:
        """A program in Python, in a container as good as new."""
        limits = {
            "output_bytes": MB,
            "cpu_seconds": 60,
            "open_files": settings.SANDBOX_OPEN_FILES,
            "file_bytes": settings.SANDBOX_WRITE_MB * MB,
        }
        with self._channel() as channel:
            channel.reset()
            return channel.run(
                language="py",
                code=code.encode(),
                args=[],
                limits=RunLimits(wall_seconds=wall_seconds, **(limits | changes)),
                abandoned=never,
            )

    def hello(self, hot_within: float = 0.0) -> None:
        """Raises `RunnerMismatch` when its runner is not ours."""
        with self._channel() as channel:
            channel.hello(START_SECONDS, hot_within=hot_within)

    def was_out_of_memory(self) -> bool:
        """The whole container, as gVisor's kernel ends it."""
        death = engine().death(self.name)
        return death is not None and death.oom_killed

    def _channel(self) -> Channel:
        return Channel(engine().attach(self.name))


@contextmanager
def started(confined: Confinement | None = None) -> Iterator[Probe]:
    """As the pool starts them: with more CPU at first, then with what a program may have."""
    confined = (confined or confinement()).of_user(engine().new_uid())
    at_first = confined
    if not confined.under_gvisor:
        at_first = replace(confined, cpus=max(settings.SANDBOX_WARMING_CPUS, confined.cpus))
    # The form of a name that the proxy of compose.yaml lets through.
    name = f"interpreter-{new_id()}"
    try:
        engine().create(
            name, labels={"interpreter.installation": installation()}, confinement=at_first
        )
        probe = Probe(name)
        probe.hello(HOT_SECONDS)
        if at_first.cpus != confined.cpus:
            engine().limit_cpu(name, confined.cpus)
        yield probe
    finally:
        with suppress(EngineUnavailable, SandboxError):
            engine().remove(name)
