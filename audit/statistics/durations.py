"""Histograms of durations whose buckets grow with the durations, so that an error is relative.

Bucket n holds what is above GROWTH ** (n - 1) and up to GROWTH ** n milliseconds. A percentile is
told as the middle of the bucket that it falls into, which is off by RELATIVE_ERROR at most, and
histograms of hours, keys or both can simply be added, which percentiles cannot.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

RELATIVE_ERROR = 0.02
GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
# Of less than a millisecond, of which there is no logarithm.
NOTHING = -1

BUCKET = (
    f"CASE WHEN wall_ms > 0 THEN ceil(ln(wall_ms::float8) / ln({GROWTH!r}::float8))::int"
    f" ELSE {NOTHING} END"
)


@dataclass(frozen=True, slots=True)
class Percentile:
    """About so many milliseconds; `runs` took `at_least` or longer, which is exact."""

    milliseconds: float
    at_least: int
    runs: int


def bucket_of(milliseconds: int) -> int:
    if milliseconds <= 0:
        return NOTHING
    return math.ceil(math.log(milliseconds) / math.log(GROWTH))


def middle(bucket: int) -> float:
    return 0 if bucket == NOTHING else 2 * GROWTH**bucket / (GROWTH + 1)


def lowest(bucket: int) -> int:
    """The least whole number in the bucket, or above it, where it has none."""
    if bucket == NOTHING:
        return 0
    number = max(1, math.floor(GROWTH ** (bucket - 1)))
    while bucket_of(number) < bucket:
        number += 1
    return number


def percentile(histogram: Mapping[int, int], percent: float) -> Percentile | None:
    """The nearest rank, as Postgres' percentile_disc has it."""
    total = sum(histogram.values())
    if not total:
        return None
    rank = max(1, math.ceil(total * percent / 100))
    below = 0
    for bucket in sorted(histogram):
        if below + histogram[bucket] >= rank:
            return Percentile(middle(bucket), lowest(bucket), total - below)
        below += histogram[bucket]
    raise AssertionError("the ranks end with the last bucket")


def added(histograms: Iterable[Mapping[int, int]]) -> dict[int, int]:
    total: dict[int, int] = {}
    for histogram in histograms:
        for bucket, runs in histogram.items():
            total[bucket] = total.get(bucket, 0) + runs
    return total
