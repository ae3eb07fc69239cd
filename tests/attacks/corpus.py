"""All attacks, group by group."""

from __future__ import annotations

from tests.attacks import (
    belongings,
    bodies,
    concurrency,
    files,
    guesses,
    heads,
    network,
    quotas,
    refusals,
    runner,
    slow,
    tenants,
    users,
)
from tests.attacks.attack import GROUPS, Attack
from tests.attacks.programs import scripts

# Each adds to its group when it is imported.
_ = (bodies, guesses, heads, slow, tenants, users)
LISTS = (
    belongings.group,
    concurrency.group,
    files.group,
    network.group,
    quotas.group,
    refusals.group,
    runner.group,
)


def attacks() -> list[Attack]:
    by_hand = [attack for each in LISTS for attack in each.attacks]
    return [
        attack
        for group in GROUPS
        for attack in (
            *(script.attack() for script in scripts(group)),
            *(attack for attack in by_hand if attack.group == group),
        )
    ]
