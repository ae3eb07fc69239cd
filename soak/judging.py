"""Whether something grows, or slows down, that should not: pure functions of the samples.

Each window of the load ends with a moment of quiet, in which nothing runs. What is held then is
compared from window to window, so that a connection more or less in use does not count.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# What a service needs to have seen of its work before it holds what it will ever hold.
WARM_UP = 1 / 3
LEAST = 4


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much more a value may be in the later half than in the earlier one."""

    more: float
    times: float = 1.0


# Memory: an allocator takes it in pieces and gives back what it likes. Descriptors and threads:
# at quiet moments the only ones are pools', which have found their size.
ALLOWED: Mapping[str, Allowance] = {
    "api.rss_mb": Allowance(24, 1.1),
    "api.descriptors": Allowance(24),
    "api.threads": Allowance(16),
    "keeper.rss_mb": Allowance(12, 1.1),
    "keeper.descriptors": Allowance(6),
    "keeper.threads": Allowance(4),
    "postgres.own_mb": Allowance(32, 1.5),
}
# Latency in milliseconds, beside what the machine itself has slowed down.
SLOWER = Allowance(100, 2.5)


def grows(values: Sequence[float], allowed: Allowance) -> tuple[float, float] | None:
    """The medians of the earlier and the later half, if that is growth.

    It is, where the later one is above what is allowed, and each later value is above each
    earlier one: what goes up and down, or up once, does not do that for long.
    """
    halves = earlier_and_later(values)
    if halves is None:
        return None
    earlier, later = halves
    before, after = statistics.median(earlier), statistics.median(later)
    limit = max(before + allowed.more, before * allowed.times)
    return (before, after) if after > limit and min(later) > max(earlier) else None


def earlier_and_later(values: Sequence[float]) -> tuple[Sequence[float], Sequence[float]] | None:
    """Two halves after the warm-up; None if they were too short to say anything."""
    steady = values[round(len(values) * WARM_UP) :]
    if len(steady) < LEAST:
        return None
    middle = len(steady) // 2
    return steady[:middle], steady[-middle:]


def judge_growth(series: Mapping[str, Sequence[float]]) -> list[str]:
    found = []
    for name, allowed in ALLOWED.items():
        growth = grows(series.get(name, []), allowed)
        if growth:
            found.append(f"{name} grows: {growth[0]:g}, later {growth[1]:g}")
    return found


def judge_latency(windows: Sequence[Mapping[str, float]], yardsticks: Sequence[float]) -> list[str]:
    """Of each kind of call its median in each window; and how long the machine took, in the same
    windows, for a piece of work that is none of the service's."""
    found = []
    usual = min(yardsticks, default=1.0)
    for kind in sorted({kind for window in windows for kind in window}):
        values = [
            window[kind] / (yardstick / usual)
            for window, yardstick in zip(windows, yardsticks, strict=True)
            if kind in window
        ]
        slower = grows(values, SLOWER)
        if slower:
            found.append(f"{kind} gets slower: {slower[0]:.0f} ms, later {slower[1]:.0f} ms")
    return found
