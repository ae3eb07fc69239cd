"""A leak is found, noise is not."""

from __future__ import annotations

import random

import pytest

from soak.judging import (
    ALLOWED,
    SLOWER,
    Allowance,
    earlier_and_later,
    grows,
    judge_growth,
    judge_latency,
)

WINDOWS = 10


@pytest.fixture
def noise() -> random.Random:
    return random.Random(7)  # noqa: S311 - no secret


def test_the_warm_up_is_left_out_and_the_rest_halved() -> None:
    assert earlier_and_later([1, 2, 3, 4, 5, 6]) == ([3, 4], [5, 6])
    assert earlier_and_later([1, 2, 3, 4, 5, 6, 7, 8, 9]) == ([4, 5, 6], [7, 8, 9])
    assert earlier_and_later([1, 2, 3]) is None


def test_what_every_window_adds_to_is_a_leak(noise: random.Random) -> None:
    leak = [100 + 10 * number + noise.uniform(-2, 2) for number in range(WINDOWS)]
    found = grows(leak, Allowance(24, 1.1))
    assert found
    assert found[1] - found[0] > 24


@pytest.mark.parametrize("name", [*ALLOWED])
def test_each_of_the_series_is_judged(name: str) -> None:
    allowed = ALLOWED[name]
    leak = [100 + 2 * max(allowed.more, 100 * (allowed.times - 1)) * n for n in range(WINDOWS)]
    (finding,) = judge_growth({name: leak, "dockerd.rss_mb": leak})
    assert finding.startswith(f"{name} grows: ")


def test_noise_is_none_however_wild(noise: random.Random) -> None:
    for _ in range(200):
        values = [noise.uniform(50, 500) for _ in range(3)] + [
            noise.choice([100, 100, 100, 400]) + noise.uniform(-5, 5) for _ in range(27)
        ]
        assert grows(values, Allowance(24, 1.1)) is None or min(values[-13:]) > 300


def test_what_grows_while_it_gets_warm_is_none() -> None:
    assert grows([60, 90, 120, 140, 141, 140, 142, 141, 141, 142], Allowance(24, 1.1)) is None


def test_a_little_more_is_none_though_it_is_always_more() -> None:
    assert grows([100 + number for number in range(WINDOWS)], Allowance(24, 1.1)) is None


def test_one_late_peak_is_none() -> None:
    assert grows([100] * 9 + [1000], Allowance(24, 1.1)) is None


def test_slower_and_slower_calls_are_found_by_their_kind() -> None:
    windows = [{"py": 50.0, "bash": 40.0 * 1.4**number} for number in range(WINDOWS)]
    (finding,) = judge_latency(windows, [10.0] * WINDOWS)
    assert finding.startswith("bash gets slower: ")


def test_a_machine_that_is_slower_is_not_the_services_fault() -> None:
    slow = [1.0] * 6 + [4.0] * 4
    windows = [{"py": 100 * factor} for factor in slow]
    assert judge_latency(windows, [10 * factor for factor in slow]) == []
    assert judge_latency(windows, [10.0] * WINDOWS) != []


def test_a_kind_that_some_windows_lack_is_judged_by_the_others() -> None:
    windows = [{"py": 50.0}, {}, {"py": 50.0}, {}, {"py": 900.0}]
    assert judge_latency(windows, [10.0] * 5) == []


def test_twice_as_slow_is_within_what_a_shared_machine_does() -> None:
    assert grows([100.0] * 6 + [220.0] * 4, SLOWER) is None
