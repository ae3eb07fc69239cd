"""Attacks that nobody can withstand would prove nothing, nor would ones that anybody can: these
succeed where a server runs programs as root, with the engine's defaults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attacks.attack import GaveWay
from tests.attacks.programs import scripts
from tests.attacks.unconfined import Unconfined, unconfined
from tests.containers import docker_engine

SCRIPTS = {
    f"{script.group}/{script.name}": script
    for group in ("privilege", "network", "resources")
    for script in scripts(group)
}


@pytest.fixture(scope="module")
def container() -> Iterator[Unconfined]:
    docker_engine()
    with unconfined() as container:
        yield container


@pytest.mark.parametrize(
    "name",
    [
        "network/interfaces",
        "network/udp",
        "network/raw_sockets",
        "resources/limits_raised",
        "privilege/another_user",
        "privilege/capabilities",
        "privilege/new_privileges",
        "privilege/own_program_of_another_user",
        "privilege/namespaces_of_others",
        "privilege/memory_of_others",
        "privilege/descriptors_of_others",
        "privilege/tracing_at_all",
        "privilege/other_root",
        "privilege/cgroups",
        "privilege/devices_made",
        "privilege/root_directory",
        # The last one, as it leaves no shell to run another.
        "privilege/files_of_the_system",
    ],
)
def test_it_succeeds_without_the_sandbox(name: str, container: Unconfined) -> None:
    with pytest.raises(GaveWay, match="it got through"):
        SCRIPTS[name].carry_out(container.run)
