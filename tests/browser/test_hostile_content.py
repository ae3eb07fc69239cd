"""Whatever strangers wrote is text in the admin: no dialog, no request, nothing else than read."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from django.contrib.admin.utils import quote as quote_key
from django.urls import reverse
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from audit.models import Execution
from keys.models import APIKey
from tests.browser.hostile import HOSTILE, LONG_LINE, everywhere

pytestmark = pytest.mark.django_db(transaction=True)

LISTS = (
    "audit_execution",
    "audit_sandboxsession",
    "audit_sandboxfile",
    "audit_sandboxcontainer",
    "keys_apikey",
)


@pytest.fixture
def watched(admin: Page, live_server: LiveServer) -> Page:
    """A page whose every dialog and request to elsewhere ends the test."""
    elsewhere: list[str] = []
    dialogs: list[str] = []
    admin.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((live_server.url, "data:", "blob:"))
            else elsewhere.append(request.url)
        ),
    )

    def on_dialog(dialog: object) -> None:
        dialogs.append(str(dialog))
        dialog.dismiss()  # type: ignore[attr-defined]

    admin.on("dialog", on_dialog)
    admin.elsewhere = elsewhere  # type: ignore[attr-defined]
    admin.dialogs = dialogs  # type: ignore[attr-defined]
    return admin


def visit(page: Page, live_server: LiveServer, path: str) -> None:
    page.goto(live_server.url + path)
    check(page)


def check(page: Page) -> None:
    """Once the theme's Alpine has gone through the page, and all that waits for a pointer has had
    one."""
    page.wait_for_function("window.Alpine && document.readyState === 'complete'")
    planted = page.evaluate(
        """() => {
            for (const element of document.querySelectorAll("main *")) {
                element.dispatchEvent(new Event("mouseover"));
                element.dispatchEvent(new Event("focus"));
            }
            const ours = (text) => text.includes("evil.invalid") || text.includes("owned");
            return [...document.querySelectorAll("*")]
                .flatMap((element) => [...element.attributes].map((a) => [element, a]))
                .filter(([element, a]) => ["href", "action"].includes(a.name)
                    ? /^(javascript:alert|http:..evil)/.test(a.value)
                    : /^(on|x-|@|src|srcset|formaction)/.test(a.name) && ours(a.value))
                .map(([element, a]) => `${element.tagName} ${a.name}=${a.value}`);
        }"""
    )
    assert planted == []
    assert page.title() != "owned"
    assert page.elsewhere == []  # type: ignore[attr-defined]
    assert page.dialogs == []  # type: ignore[attr-defined]
    # Usable: the way to elsewhere is there to be clicked.
    expect(page.get_by_role("link", name="Executions").first).to_be_visible()


def pages_of(run: Execution) -> dict[str, str]:
    assert run.container is not None
    rows = {
        "audit_execution": run.pk,
        "audit_sandboxsession": run.session_id,
        "audit_sandboxfile": run.files.get().pk,
        "audit_sandboxcontainer": run.container.pk,
        "keys_apikey": str(run.key_id),
    }
    return {
        model: reverse(f"admin:{model}_change", args=(quote_key(row),))
        for model, row in rows.items()
    }


def test_it_is_inert_in_every_list_and_where_it_is_searched_for(
    watched: Page, live_server: LiveServer
) -> None:
    runs = [everywhere(text) for text in HOSTILE.values()]
    for model in LISTS:
        path = reverse(f"admin:{model}_changelist")
        visit(watched, live_server, path)
        assert watched.locator("#result_list tbody tr").count() == len(runs)
        visit(watched, live_server, f"{path}?q={quote(HOSTILE['handler'])}")
    path = reverse("admin:audit_execution_changelist")
    for text in HOSTILE.values():
        visit(watched, live_server, f"{path}?q={quote(text)}&language={quote(text[:16])}")
    for name in ("created_at_from", "status__exact", "key__id__exact", "e", "o", "p"):
        visit(watched, live_server, f"{path}?{name}={quote(HOSTILE['handler'])}")


@pytest.mark.parametrize("kind", HOSTILE)
def test_it_is_inert_on_every_page_and_where_something_is_confirmed(
    watched: Page, live_server: LiveServer, kind: str
) -> None:
    pages = pages_of(everywhere(HOSTILE[kind]))
    for path in pages.values():
        visit(watched, live_server, path)
    # The last one was the key's.
    watched.get_by_role("link", name="Revoke").click()
    check(watched)
    watched.get_by_role("button", name="Revoke").click()
    check(watched)
    assert APIKey.objects.get().revoked_at is not None
    visit(watched, live_server, pages["keys_apikey"].replace("/change/", "/history/"))


def test_what_reorders_text_and_what_terminals_obey_is_shown_as_what_it_is(
    watched: Page, live_server: LiveServer
) -> None:
    run = everywhere(HOSTILE["order"] + HOSTILE["escapes"])
    lists = [reverse(f"admin:{model}_changelist") for model in LISTS]
    for path in [*lists, *pages_of(run).values()]:
        visit(watched, live_server, path)
        shown = watched.locator("body").inner_text()
        assert [char for char in "\u202e\u2066\u2069\u200f\x1b\x07\x08" if char in shown] == [], (
            path
        )


def test_a_line_of_a_megabyte_leaves_the_page_usable(
    watched: Page, live_server: LiveServer
) -> None:
    run = everywhere(LONG_LINE)
    visit(watched, live_server, reverse("admin:audit_execution_changelist"))
    watched.locator("#result_list tbody a").first.click()
    check(watched)
    assert len(watched.locator(".run pre").nth(1).inner_text()) == len(LONG_LINE)
    for path in pages_of(run).values():
        visit(watched, live_server, path)
        # It scrolls or wraps in its own box.
        wide = watched.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, path
    watched.get_by_role("link", name="Sessions").first.click()
    check(watched)
    assert Execution.objects.get().pk == run.pk
