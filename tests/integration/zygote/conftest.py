"""One container for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers import Sandbox
from tests.integration.zygote.inside import hot_sandbox, unharmed


@pytest.fixture(scope="module")
def hot() -> Iterator[Sandbox]:
    with hot_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(hot: Sandbox) -> Iterator[Sandbox]:
    with unharmed(hot):
        yield hot
