"""Every attack, on the whole service as an operator runs it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.attacks.attack import GROUPS, Attack
from tests.attacks.campaign import Campaign
from tests.attacks.corpus import attacks
from tests.attacks.private import private_target
from tests.conftest import empty_database
from tests.containers import docker_engine

ATTACKS = attacks()


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    docker_engine()
    with (
        empty_database(f"interpreter_attacks_{os.getpid()}") as url,
        private_target(tmp_path_factory.mktemp("attacks"), url) as target,
    ):
        yield Campaign(target)


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_it_holds(attack: Attack, campaign: Campaign) -> None:
    result = campaign.carry_out(attack)
    assert not result.failure, result.line
    assert not result.left_out, result.line


def test_there_are_many_attacks_in_each_group_and_each_has_a_name_of_its_own() -> None:
    names = {str(attack) for attack in ATTACKS}
    assert len(names) == len(ATTACKS) >= 110
    for group in GROUPS:
        assert sum(attack.group == group for attack in ATTACKS) >= 8
    assert all(attack.tries for attack in ATTACKS)
