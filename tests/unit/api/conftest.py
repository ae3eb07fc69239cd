from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django import Settings

from tests.fakes.engine import FakeEngine
from tests.unit.api.librechat import LibreChat


@pytest.fixture(autouse=True)
def static_root(settings: Settings, tmp_path: Path) -> None:
    """WhiteNoise warns about a directory that only `collectstatic` makes."""
    settings.STATIC_ROOT = tmp_path


@pytest.fixture
def alice(db: None, fake: FakeEngine) -> LibreChat:
    """Her key owns what the test makes."""
    return LibreChat.named("Alice")


@pytest.fixture
def bob(db: None, fake: FakeEngine) -> LibreChat:
    """He has a key of his own and must not see anything of Alice's."""
    return LibreChat.named("Bob")
