"""What the keeper does in each pass of its main loop: in any case it fills the pool."""

from __future__ import annotations

import time

from sandbox import keeper
from sandbox.census import Census
from sandbox.passes import do_each

TIDY_SECONDS = 5.0
# How often it is looked who is missing, once somebody is.
COUNT_SECONDS = 1.0


class Rounds:
    def __init__(self) -> None:
        self._census = Census()
        self._counted = self._tidied = float("-inf")

    @property
    def pause_seconds(self) -> float:
        return COUNT_SECONDS if self._census.missing else TIDY_SECONDS

    def pass_once(self) -> None:
        do_each(self._count, self._tidy, keeper.refill)

    def _count(self) -> None:
        if time.monotonic() - self._counted > COUNT_SECONDS:
            if self._census.end_leases_of_dead():
                self._tidied = float("-inf")
            self._counted = time.monotonic()

    def _tidy(self) -> None:
        if time.monotonic() - self._tidied > TIDY_SECONDS:
            try:
                keeper.tidy()
            finally:
                self._tidied = time.monotonic()
