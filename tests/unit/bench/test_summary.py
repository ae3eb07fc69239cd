from __future__ import annotations

import random
import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.summary import Summary, Times, percentile

times = st.lists(st.floats(0, 1e6), min_size=1)


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 10), (25, 17.5), (50, 25), (95, 38.5), (99, 39.7), (100, 40)]
)
def test_percentiles_interpolate_between_neighbours(percent: float, expected: float) -> None:
    assert percentile([40, 10, 30, 20], percent) == pytest.approx(expected)


def test_percentiles_are_those_of_the_standard_library() -> None:
    values = [random.Random(7).expovariate(1) for _ in range(137)]  # noqa: S311
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    for percent in (1, 50, 95, 99):
        assert percentile(values, percent) == pytest.approx(cuts[percent - 1])


@given(times)
def test_a_percentile_lies_within_what_was_measured(values: list[float]) -> None:
    found = [percentile(values, percent) for percent in (50, 95, 99)]
    assert min(values) <= found[0] * (1 + 1e-9)
    assert found[-1] <= max(values) * (1 + 1e-9)
    assert all(low <= high * (1 + 1e-9) for low, high in pairwise(found))


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 50)


def test_a_summary_is_in_milliseconds() -> None:
    times = Times()
    for seconds in (0.001, 0.002, 0.003):
        times.add(seconds)
    assert times.summary == Summary(3, 2.0, 2.9, 2.98)


def test_what_failed_is_counted_and_has_no_time() -> None:
    times = Times()
    times.errors["HTTP 503"] += 2
    times.errors["no answer"] += 1
    assert (times.failed, times.summary) == (3, None)
