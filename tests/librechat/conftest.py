import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.librechat.client import LibreChat
from tests.librechat.releases import RELEASES, Release

MODULES = Path(__file__).parent / "node_modules"

Connect = Callable[[Release, str, str], LibreChat]


@pytest.fixture(scope="session", autouse=True)
def _npm_packages_are_installed() -> None:
    missing = [release.agents for release in RELEASES if not _is_installed(release)]
    if shutil.which("node") and not missing:
        return
    reason = (
        "LibreChat's client is NOT tested: it needs node, and `npm ci --ignore-scripts` "
        "in tests/librechat (script/test does that)"
    )
    if os.environ.get("REQUIRE_ENGINE") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _is_installed(release: Release) -> bool:
    return (MODULES / f"agents-{release.agents}" / "package.json").is_file()


@pytest.fixture(scope="session", params=RELEASES, ids=str)
def librechat(
    request: pytest.FixtureRequest, live_server_url: str, api_key: str
) -> Iterator[LibreChat]:
    release: Release = request.param
    key = api_key if release.sends_key else ""
    with LibreChat(release, release.base_url(live_server_url, api_key), key) as client:
        yield client


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Starts a LibreChat of the test's own, with the base URL and the key that it chooses."""
    with ExitStack() as started:
        yield lambda release, base_url, key: started.enter_context(
            LibreChat(release, base_url, key)
        )
