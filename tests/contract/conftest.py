from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.engines.base import Engine
from tests.containers import Sandbox, docker_engine, started
from tests.fakes.engine import FakeEngine


@pytest.fixture(params=["fake", "docker"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """What the unit tests rely on, and what they rely on it to be like."""
    return FakeEngine() if request.param == "fake" else docker_engine()


@pytest.fixture
def sandbox(engine: Engine) -> Iterator[Sandbox]:
    with started(engine) as sandbox:
        yield sandbox
