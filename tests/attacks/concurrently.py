"""Several requests at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tests.attacks.target import Answer, Target

Result = TypeVar("Result")


def at_once(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """Their results in order; the first error is raised."""
    with ThreadPoolExecutor(max_workers=len(calls)) as threads:
        return [future.result() for future in [threads.submit(call) for call in calls]]


def run_beside(target: Target, first: str, second: str, *, seconds: float) -> tuple[Answer, Answer]:
    """The first goes on until its time is up, and the second runs half way through."""

    def begin() -> Answer:
        return target.run(first, timeout=round(seconds * 1000))

    def follow() -> Answer:
        time.sleep(seconds / 2)
        return target.run(second)

    one, other = at_once([begin, follow])
    return one, other
