"""What an attack is, and how a module of a group's attacks lists them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tests.attacks.target import Target

GROUPS = (
    "resources",
    "privilege",
    "runner",
    "network",
    "tenants",
    "files",
    "http",
    "concurrency",
)


class Need(StrEnum):
    """What an attack cannot do without, in the words that say why it was left out."""

    SECOND_KEY = "a second key"
    HOST = "a service of our own, to look at from its host"


class GaveWay(AssertionError):
    """The attack succeeded: something does not hold that has to."""


def held(holds: object, otherwise: str) -> None:
    if not holds:
        raise GaveWay(otherwise)


# Carries the attack out, raises GaveWay where it succeeds, and returns the session whose next run
# is to work, or "" where there is none.
CarryOut = Callable[[Target], str]


@dataclass(frozen=True, kw_only=True)
class Attack:
    group: str
    name: str
    tries: str
    carry_out: CarryOut
    needs: Need | None = None

    def __str__(self) -> str:
        return f"{self.group}/{self.name}"


class Group:
    """Attacks that are more than programs. Each is a function that says what it tries."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.attacks: list[Attack] = []

    def attack(self, needs: Need | None = None) -> Callable[[CarryOut], CarryOut]:
        def add(function: CarryOut) -> CarryOut:
            self.add(function.__name__, function.__doc__ or "", function, needs)
            return function

        return add

    def add(self, name: str, tries: str, carry_out: CarryOut, needs: Need | None = None) -> None:
        self.attacks.append(
            Attack(
                group=self.name,
                name=name,
                tries=" ".join(tries.split()).removesuffix("."),
                carry_out=carry_out,
                needs=needs,
            )
        )
