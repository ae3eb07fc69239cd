"""The service's state in a moment of quiet."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.service import Service
from soak.leftovers import Leftovers
from soak.processes import Held, family, held_by, named

YARDSTICK = bytes(8 * 1024 * 1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """After one window of the load."""

    elapsed: float
    calls: dict[str, int]
    # Median of each kind of call, in milliseconds.
    latency: dict[str, float]
    # What the machine took for a piece of work of its own, and what others asked of it.
    yardstick_ms: float
    load: float
    held: dict[str, Held] = field(default_factory=dict)
    containers: int = 0
    most_containers: int = 0
    stored_bytes: int = 0
    leftovers: list[str] = field(default_factory=list)

    def series(self) -> dict[str, float]:
        """By the names that growth is judged under."""
        return {
            f"{process}.{what}": value
            for process, held in self.held.items()
            for what, value in asdict(held).items()
        }

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Inside:
    """Of a service that is ours."""

    def __init__(self, service: Service, leftovers: Leftovers) -> None:
        self._service = service
        self._leftovers = leftovers
        # At any time so far.
        self.most_containers = 0

    def look(self) -> None:
        """Under load."""
        self.most_containers = max(self.most_containers, len(self._leftovers.containers()))

    def held(self) -> dict[str, Held]:
        pids = self._service.pids
        return {
            "api": held_by(family(pids["gunicorn"])),
            "keeper": held_by(family(pids["keeper"])),
            "postgres": held_by(family(pids["postgres"])),
            # Also of whoever else uses it, so it is only shown.
            "dockerd": held_by(named("dockerd")),
        }

    def fill(self, sample: dict[str, Any]) -> dict[str, Any]:
        return sample | {
            "leftovers": self._leftovers.find(),
            "held": self.held(),
            "containers": len(self._leftovers.containers()),
            "most_containers": self.most_containers,
            "stored_bytes": self._leftovers.stored_bytes(),
        }


def yardstick() -> float:
    """Milliseconds that the machine takes for what always is the same work, at this moment."""
    began = time.perf_counter()
    hashlib.sha256(YARDSTICK).digest()
    return round((time.perf_counter() - began) * 1000, 2)


def load() -> float:
    return round(os.getloadavg()[0], 2)
