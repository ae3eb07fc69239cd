"""A service of our own, to be attacked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.attacks.target import Target
from tests.service import Service

# Fewer than sessions, so that containers are used again and have to be emptied.
SETTINGS = {"SANDBOX_MAX_CONTAINERS": "8"}
UNDER_GVISOR = "from sandbox.confinement import confinement; print(confinement().under_gvisor)"


@contextmanager
def private_target(directory: Path, database_url: str) -> Iterator[Target]:
    with Service(directory=directory, database_url=database_url, settings=SETTINGS) as service:
        yield Target(
            base_url=service.url,
            key=service.key,
            other_key=service.manage("createapikey", "somebody else").split()[-1],
            service=service,
            under_gvisor=service.sql(UNDER_GVISOR).strip() == "True",
        )
