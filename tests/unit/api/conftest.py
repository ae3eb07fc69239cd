from __future__ import annotations

import pytest

from tests.fakes.engine import FakeEngine
from tests.unit.api.librechat import LibreChat


@pytest.fixture
def alice(db: None, fake: FakeEngine) -> LibreChat:
    """Her key owns what the test makes."""
    return LibreChat.named("Alice")


@pytest.fixture
def bob(db: None, fake: FakeEngine) -> LibreChat:
    """He has a key of his own and must not see anything of Alice's."""
    return LibreChat.named("Bob")
