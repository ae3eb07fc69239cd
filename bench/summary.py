"""What is said of a number of measured times."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

METHOD = (
    "Percentiles interpolate linearly between the two nearest of the sorted times"
    " (type 7 of Hyndman and Fan, numpy's default)."
)


def percentile(values: Sequence[float], percent: float) -> float:
    if not values:
        raise ValueError("there is no percentile of nothing")
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


@dataclass(frozen=True, slots=True)
class Summary:
    """In milliseconds, but for the count."""

    count: int
    p50: float
    p95: float
    p99: float


@dataclass(slots=True)
class Times:
    """Of what went well, in milliseconds; what went wrong is counted by its message."""

    milliseconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, seconds: float) -> None:
        self.milliseconds.append(round(seconds * 1000, 3))

    @property
    def failed(self) -> int:
        return self.errors.total()

    @property
    def summary(self) -> Summary | None:
        times = self.milliseconds
        if not times:
            return None
        p50, p95, p99 = (round(percentile(times, percent), 3) for percent in (50, 95, 99))
        return Summary(len(times), p50, p95, p99)
