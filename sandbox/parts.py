"""The parts of the service that can fail, by the names that `/health/ready` tells."""

from __future__ import annotations

from enum import StrEnum

from sandbox.errors import (
    EngineUnavailable,
    ImageMissing,
    RunnerMismatch,
    SandboxError,
    StoreUnavailable,
)


class Part(StrEnum):
    DATABASE = "database"
    ENGINE = "engine"
    IMAGE = "image"
    STORE = "store"
    DESCRIPTORS = "descriptors"
    CLOCK = "clock"
    KEEPER = "keeper"
    RUN = "run"


OK = "ok"
# A service that works hard works.
FINE = frozenset({OK, "busy"})
# The first class that fits an error decides.
FAILURES: tuple[tuple[type[SandboxError], tuple[Part, str]], ...] = (
    (ImageMissing, (Part.IMAGE, "missing")),
    (RunnerMismatch, (Part.IMAGE, "outdated")),
    (EngineUnavailable, (Part.ENGINE, "failing")),
    (StoreUnavailable, (Part.STORE, "failing")),
    (SandboxError, (Part.RUN, "failing")),
)


def part_of(error: SandboxError) -> tuple[Part, str]:
    """The part that has failed, and a word for it that tells nothing of the inside."""
    return next(failure for kind, failure in FAILURES if isinstance(error, kind))
