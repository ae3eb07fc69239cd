from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest


@dataclass(frozen=True, slots=True)
class Release:
    """A LibreChat release by the agents package it carries, or the nearest that was published."""

    librechat: str
    agents: str
    axios: str
    sends_key: bool
    profile: str = ""

    def __str__(self) -> str:
        return f"LibreChat-{self.librechat}"

    def base_url(self, server: str, key: str) -> str:
        """Releases that send no key get it as part of the URL."""
        parts = urlsplit(server)
        return server if self.sends_key else f"{parts.scheme}://librechat:{key}@{parts.netloc}"


V0_8_0 = Release("0.8.0", agents="2.4.85", axios="1.8.2", sends_key=True)
V0_8_5 = Release("0.8.5", agents="3.1.63", axios="1.8.2", sends_key=True)
V0_8_7 = Release("0.8.7", agents="3.2.57", axios="1.16.0", sends_key=False)
NEWEST = Release("newest", agents="3.9.2", axios="1.16.0", sends_key=False, profile="default")

SENDING_A_KEY = (V0_8_0, V0_8_5)
SENDING_NO_KEY = (V0_8_7, NEWEST)
RELEASES = SENDING_A_KEY + SENDING_NO_KEY


def only(*releases: Release) -> pytest.MarkDecorator:
    """Runs a test with these releases, where the others have no such thing."""
    return pytest.mark.parametrize("librechat", releases, indirect=True, ids=str, scope="session")
