"""A container of each image, as programs get them, and what holds in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from keys.limits import Limits
from sandbox import images
from sandbox.confinement import Confinement, confinement
from sandbox.doctor import clocks, isolation
from sandbox.doctor.limits import Trial
from sandbox.errors import EngineUnavailable, SandboxError
from sandbox.findings import Finding, fail, ok
from sandbox.probe import Probe, remove_strays, started


def check(confined: Confinement | None = None) -> Iterator[Finding]:
    """All of it with the default image, or with the confinement that is given; of the further ones
    only that they start."""
    with suppress(EngineUnavailable):
        remove_strays()
    yield from _in_one(images.DEFAULT, confined or confinement(), _everything)
    for name in images.names():
        if name != images.DEFAULT:
            yield from _in_one(name, confinement(image=images.tag(name)), lambda probe: iter(()))


def _in_one(
    name: str, confined: Confinement, look: Callable[[Probe], Iterator[Finding]]
) -> Iterator[Finding]:
    check, began = f"sandbox.{name}", time.monotonic()
    try:
        with started(confined) as probe:
            yield ok(check, f"a container is ready after {time.monotonic() - began:.1f} s")
            yield from look(probe)
    except SandboxError as error:
        advice = "See the lines above; the engine's own log says more."
        yield fail(check, str(error) or type(error).__name__, advice)


def _everything(probe: Probe) -> Iterator[Finding]:
    yield _clock(probe)
    yield from isolation.check(probe)
    yield from Trial(probe, Limits.of(), under_gvisor=confinement().under_gvisor).check()


def _clock(probe: Probe) -> Finding:
    seconds = clocks.apart(lambda: float(probe.run("import time; print(time.time())").stdout))
    return clocks.judge("clock.container", "a container's", seconds)
