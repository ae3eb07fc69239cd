"""The API's description, as a person reads it and tries it out."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from keys.models import APIKey
from tests.fakes.engine import FakeEngine


@pytest.fixture
def docs(page: Page, live_server: LiveServer) -> Page:
    page.goto(f"{live_server.url}/docs")
    expect(page.get_by_role("heading", name="Code interpreter")).to_be_visible()
    return page


def test_a_call_can_be_tried_with_a_key(docs: Page, fake: FakeEngine) -> None:
    _, secret = APIKey.issue(name="A reader")
    docs.get_by_role("button", name="Authorize").first.click()
    field = docs.locator(".auth-container", has_text="apiKey").get_by_label("Value")
    field.fill(secret)
    docs.locator(".auth-container", has_text="apiKey").get_by_role(
        "button", name="Apply credentials"
    ).click()
    docs.get_by_role("button", name="Close", exact=True).first.click()
    run = docs.locator("#operations-Programs-run")
    run.locator(".opblock-summary-control").click()
    run.get_by_role("button", name="Try it out").click()
    run.get_by_role("button", name="Execute").click()
    answer = run.locator(".live-responses-table")
    expect(answer).to_contain_text('"stdout": "42\\n"', timeout=30_000)
    expect(answer).to_contain_text('"name": "answer.txt"')


def test_it_is_dark_where_the_reader_s_pages_are(docs: Page) -> None:
    page = docs.locator("html")
    expect(page).not_to_have_class("dark-mode")
    docs.emulate_media(color_scheme="dark")
    expect(page).to_have_class("dark-mode")
    expect(page).to_have_css("color-scheme", "dark")
    docs.emulate_media(color_scheme="light")
    expect(page).not_to_have_class("dark-mode")


def test_it_fits_on_a_telephone(docs: Page) -> None:
    docs.set_viewport_size({"width": 390, "height": 800})
    for operation in docs.locator(".opblock-summary-control").all():
        operation.click()
    expect(docs.locator(".opblock.is-open .responses-inner")).to_have_count(12)
    assert docs.evaluate("document.documentElement.scrollWidth") <= 390
