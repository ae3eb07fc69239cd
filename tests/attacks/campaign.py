"""Attacks, one after the other, with a look at the server's health after each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import requests

from tests.attacks.attack import Attack, GaveWay, Need
from tests.attacks.health import Health
from tests.attacks.target import Target, Unanswered

# An attack that the server does not survive is told like one that it does not withstand, and so is
# an answer that is none: without what every answer has, or of another form.
FAILURES = (
    GaveWay,
    Unanswered,
    requests.RequestException,
    OSError,
    LookupError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, kw_only=True)
class Result:
    attack: Attack
    seconds: float
    # Why the server did not hold; empty where it did.
    failure: str = ""
    left_out: str = ""

    @property
    def line(self) -> str:
        what = f"{self.attack}: {self.attack.tries}"
        if self.left_out:
            return f"LEFT OUT {what} (needs {self.left_out})"
        if self.failure:
            return f"FAILED   {what}: {self.failure}"
        return f"passed   {what} ({self.seconds:.1f} s)"


class Campaign:
    def __init__(self, target: Target) -> None:
        self._target = target
        self._health = Health(target)

    def carry_out(self, attack: Attack) -> Result:
        began = time.monotonic()
        left_out = failure = ""
        if missing(self._target, attack.needs):
            left_out = str(attack.needs)
        else:
            try:
                self._health.check(attack.carry_out(self._target))
            except FAILURES as error:
                failure = f"{type(error).__name__}: {error}"[:2000]
        return Result(
            attack=attack,
            seconds=time.monotonic() - began,
            failure=failure,
            left_out=left_out,
        )


def missing(target: Target, need: Need | None) -> bool:
    match need:
        case Need.SECOND_KEY:
            return not target.other_key
        case Need.HOST:
            return target.service is None
    return False


def carry_out_all(
    target: Target, attacks: Iterable[Attack], say: Callable[[str], object]
) -> list[Result]:
    campaign = Campaign(target)
    results = []
    for attack in attacks:
        result = campaign.carry_out(attack)
        say(result.line)
        results.append(result)
    say(summary(results))
    return results


def summary(results: Iterable[Result]) -> str:
    results = list(results)
    failed = sum(bool(result.failure) for result in results)
    left_out = sum(bool(result.left_out) for result in results)
    told = f"{len(results) - failed - left_out} passed, {failed} failed"
    return f"{told}, {left_out} LEFT OUT" if left_out else told
