"""Some of the attacks, on a service whose programs talk to gVisor's kernel. All of them take too
long to be tried each time: docs/gvisor.md says how."""

from __future__ import annotations

import pytest

from tests.attacks.campaign import Campaign
from tests.attacks.corpus import attacks
from tests.attacks.target import Target
from tests.service import Service


@pytest.fixture(scope="module")
def campaign(gvisor_service: Service) -> Campaign:
    service = gvisor_service
    return Campaign(
        Target(base_url=service.url, key=service.key, service=service, under_gvisor=True)
    )


# Quick ones of each group, whose end depends on the kernel.
@pytest.mark.parametrize(
    "name",
    [
        "resources/memory_piece_by_piece",
        "resources/storm_that_is_killed",
        "resources/daemons",
        "privilege/own_program_of_another_user",
        "privilege/namespaces_of_others",
        "privilege/memory_of_others",
        "privilege/descriptors_of_others",
        "runner/source_of_the_next_program",
        "runner/signals_to_the_sandbox",
        "runner/descriptors_of_process_1",
        "network/interfaces",
        "network/interfaces_made",
        "files/links_out_of_the_workspace",
    ],
)
@pytest.mark.django_db
def test_it_withstands_an_attack(name: str, campaign: Campaign) -> None:
    [attack] = [attack for attack in attacks() if str(attack) == name]
    result = campaign.carry_out(attack)
    assert not result.failure, result.line
    assert not result.left_out, result.line
