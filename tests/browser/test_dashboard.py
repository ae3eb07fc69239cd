"""The first page as people see it, over runs as a busy month leaves them."""

from __future__ import annotations

import re
from collections.abc import Callable

import psycopg
import pytest
from django.db import connection
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from audit.models import Execution
from audit.statistics.rolling import roll_up
from bench.executions import Amount, load
from keys.models import APIKey

pytestmark = pytest.mark.django_db(transaction=True)

PICTURE = (1440, 1180)
# What sticks out of the page, and drawings that show nothing.
BROKEN = """() => [
    ...(document.documentElement.scrollWidth > innerWidth ? ["wider than the screen"] : []),
    ...[...document.querySelectorAll(".drawing a")]
        .filter((a) => !a.getBoundingClientRect().width)
        .map((a) => `nothing of ${a.getAttribute("aria-label")}`),
    ...[...document.querySelectorAll(".use a")]
        .filter((a) => !(a.textContent.trim() || a.getAttribute("aria-label")))
        .map((a) => `a link without a name to ${a.href}`),
]"""
# Of an element's own words, however its colour is written, to what is behind it.
CONTRAST = """(selector) => {
    const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const light = (colour) => {
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        const [red, green, blue] = [...context.getImageData(0, 0, 1, 1).data].map((part) => {
            const share = part / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    return Math.min(...[...document.querySelectorAll(selector)].map((element) => {
        const ink = light(getComputedStyle(element).color);
        const paper = light(getComputedStyle(element.closest(".use-card")).backgroundColor);
        return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    }));
}"""


@pytest.fixture
def month(transactional_db: None) -> None:
    settings = connection.settings_dict
    with psycopg.connect(
        host=settings["HOST"] or None, user=settings["USER"] or None, dbname=settings["NAME"]
    ) as loading:
        load(loading, Amount(executions=6000))
    while roll_up(batch=500):
        pass


@pytest.fixture
def dashboard(month: None, admin: Page, live_server: LiveServer) -> Callable[[str], Page]:
    def show(period: str) -> Page:
        admin.goto(f"{live_server.url}/admin/?period={period}")
        admin.wait_for_function("window.Alpine && document.readyState === 'complete'")
        return admin

    return show


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_can_be_read_on_any_screen(
    dashboard: Callable[[str], Page], scheme: str, width: int
) -> None:
    page = dashboard("month")
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 900})
    for period in ("hour", "day", "week", "month"):
        page = dashboard(period)
        assert page.evaluate(BROKEN) == [], period
    assert ("dark" in (page.locator("html").get_attribute("class") or "")) == (scheme == "dark")
    expect(page.get_by_role("heading", name="Runs by outcome")).to_be_visible()
    assert page.evaluate(CONTRAST, ".use dt, .use dd a, .use h3, .ranking a, .chart-level") > 4.5
    expect(page.get_by_role("link", name="Executions").first).to_be_attached()


def test_a_part_of_a_chart_leads_to_its_runs(dashboard: Callable[[str], Page]) -> None:
    page = dashboard("month")
    mark = page.locator(".drawing a").filter(has=page.locator("rect.of-aborted")).first
    title = mark.get_attribute("aria-label") or ""
    said = re.search(r": (\d+) runs?, aborted", title)
    assert said
    mark.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("status__exact=aborted"))
    expect(page.locator("#result_list tbody tr")).to_have_count(int(said[1]))


def test_arrow_keys_go_through_a_chart_and_tab_goes_past_it(
    dashboard: Callable[[str], Page],
) -> None:
    page = dashboard("week")
    chart = page.locator("svg[data-arrows]").first
    links = chart.locator("a")
    focused = "document.activeElement.getAttribute('aria-label')"
    titles = [link.get_attribute("aria-label") for link in links.all()]
    links.first.focus()
    for key, there in (
        ("ArrowRight", 1),
        ("ArrowRight", 2),
        ("ArrowLeft", 1),
        ("End", -1),
        ("ArrowRight", -1),
        ("Home", 0),
        ("ArrowLeft", 0),
    ):
        page.keyboard.press(key)
        assert page.evaluate(focused) == titles[there], key
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.keyboard.press("Enter")
    table = page.get_by_role("region", name="Runs by outcome, as a table")
    expect(table).to_be_visible()
    expect(table.get_by_role("columnheader", name="Succeeded")).to_be_visible()

    squares = page.locator("table[data-arrows] a")
    squares.first.focus()
    for key, there in (("ArrowDown", 24), ("ArrowRight", 25), ("ArrowUp", 1), ("End", 167)):
        page.keyboard.press(key)
        assert page.evaluate(focused) == squares.nth(there).get_attribute("aria-label"), key


def test_a_key_shows_what_it_was_used_for(
    month: None, admin: Page, live_server: LiveServer
) -> None:
    key = APIKey.objects.earliest("pk")
    admin.goto(f"{live_server.url}/admin/keys/apikey/{key.pk}/change/")
    admin.get_by_role("link", name="Last 7 days").click()
    expect(admin.get_by_role("heading", name="Time of the programs")).to_be_visible()
    assert admin.evaluate(BROKEN) == []
    assert admin.locator(".drawing rect").count() > 7
    admin.locator(".use-tile a").first.click()
    expect(admin).to_have_url(re.compile(f"key__id__exact={key.pk}"))


def test_an_empty_installation_tells_how_to_connect(admin: Page) -> None:
    expect(admin.get_by_role("heading", name="connect LibreChat")).to_be_visible()
    assert admin.evaluate(BROKEN) == []
    admin.get_by_role("link", name="Make an API key").click()
    expect(admin.locator("[name=name]")).to_be_visible()


def test_the_picture(
    dashboard: Callable[[str], Page], picture: Callable[[Page, str], None]
) -> None:
    page = dashboard("month")
    page.set_viewport_size({"width": PICTURE[0], "height": PICTURE[1]})
    picture(page, "dashboard")
    assert Execution.objects.count() == 6000
