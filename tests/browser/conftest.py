from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connections
from playwright.sync_api import ConsoleMessage, Page, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

# Without them Chromium calls Google's hosts at each start.
QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", metavar="DIRECTORY", help="where the README's pictures go")


@pytest.fixture
def picture(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Page, str], None]:
    """Keeps what a page looks like: `script/test tests/browser -k picture --pictures docs` renews
    the pictures of the README and the pages in docs."""
    directory = Path(request.config.getoption("--pictures", default=None) or tmp_path)

    def keep(page: Page, name: str) -> None:
        path = directory / f"{name}.png"
        page.screenshot(path=path, animations="disabled")
        assert path.stat().st_size > 20_000

    return keep


@pytest.fixture
def complaints() -> list[str]:
    """What the browser wrote to its console. What is left at the end fails the test."""
    return []


@pytest.fixture
def page(
    transactional_db: None,
    complaints: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Page]:
    """A fresh visitor in Debian's Chromium, as Playwright's own is a download."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("The browser tests need Chromium: apt-get install chromium")
    # Playwright keeps an event loop in this thread, which makes Django refuse database queries.
    # For the same reason it starts after the database is there and stops before that is emptied.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")

    def note_errors(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    with sync_playwright() as playwright:
        # Chromium's sandbox does not work for root, which CI often is; all pages are our own.
        browser = playwright.chromium.launch(
            executable_path=chromium, args=[*QUIET, "--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", note_errors)
        yield page
        page.screenshot(path=tmp_path / "last.png", full_page=True)
        browser.close()
        # Those opened beside the event loop are not the thread's own, and nobody else closes them.
        connections.close_all()
    assert complaints == []


@pytest.fixture
def admin(page: Page, live_server: LiveServer) -> Page:
    """Logged in, on the start page."""
    User.objects.create_superuser("admin", "", "correct horse")
    page.goto(f"{live_server.url}/admin/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill("correct horse")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("link", name="Executions").first).to_be_visible()
    return page
