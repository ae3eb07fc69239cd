"""The page of what runs now, as somebody sees and uses it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from audit.models import Execution, LiveRun, SandboxContainer, SandboxSession
from keys.models import APIKey
from tests.browser.hostile import HOSTILE

pytestmark = pytest.mark.django_db(transaction=True)


def make_run(*, user: str = "ann", code: str = "print(1)", language: str = "py") -> Execution:
    """One that a worker has."""
    key = APIKey.objects.first() or APIKey.issue(name="LibreChat")[0]
    later = timezone.now() + timedelta(hours=1)
    session = SandboxSession.objects.create(
        key=key, origin="run", expires_at=later, lease_token="its", lease_expires_at=later
    )
    container = SandboxContainer.objects.create(
        session=session, state="leased", ready_at=timezone.now()
    )
    return Execution.objects.create(
        key=key,
        session=session,
        container=container,
        lease_token="its",
        user_id=user,
        code=code,
        language=language,
    )


def write(run: Execution, stdout: str, stderr: str = "") -> None:
    LiveRun.objects.publish(
        LiveRun(
            execution=run,
            stdout=stdout,
            stderr=stderr,
            stdout_bytes=len(stdout),
            stderr_bytes=len(stderr),
        )
    )


@pytest.fixture
def live(admin: Page) -> Page:
    admin.locator("a[href='/admin/live/']").first.click()
    expect(admin.get_by_text("Nothing runs now.")).to_be_visible()
    return admin


def test_a_run_comes_writes_and_goes_without_a_reload(live: Page) -> None:
    live.evaluate("window.isStillThis = true")
    run = make_run()
    card = live.locator(f"[data-run='{run.pk}']")
    expect(card).to_contain_text("running")
    expect(card).to_contain_text("py · LibreChat · user ann")
    expect(live.get_by_role("status")).to_have_text("1 run")
    expect(live.get_by_text("Nothing runs now.")).to_be_hidden()
    write(run, "one\n", "careful\n")
    expect(card.get_by_label("Output")).to_have_text("one\n")
    expect(card.get_by_label("Errors")).to_have_text("careful\n")
    write(run, "one\ntwo\n", "careful\n")
    expect(card.get_by_label("Output")).to_have_text("one\ntwo\n")
    Execution.objects.update(status="succeeded")
    expect(card).to_contain_text("ended")
    expect(live.get_by_text("Nothing runs now.")).to_be_visible(timeout=30_000)
    assert live.evaluate("window.isStillThis") is True


def test_a_run_is_stopped_by_keyboard_after_a_question(live: Page) -> None:
    run = make_run()
    other = make_run(user="ben")
    button = live.locator(f"[data-run='{run.pk}'] [data-stop]")
    button.focus()
    live.keyboard.press("Enter")
    dialog = live.get_by_role("dialog")
    expect(dialog).to_contain_text("Stop this run?")
    # What does no harm has the focus.
    live.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    live.keyboard.press("Enter")
    live.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert not LiveRun.objects.exists()
    live.keyboard.press("Enter")
    live.get_by_role("button", name="Stop it").focus()
    live.keyboard.press("Enter")
    expect(button).to_have_text("Stopping…")
    expect(button).to_be_focused()
    assert LiveRun.objects.asked_to_stop().get().execution_id == run.pk
    assert LogEntry.objects.get().object_id == run.pk
    expect(live.locator(f"[data-run='{other.pk}'] [data-stop]")).to_have_text("Stop")


def test_focus_and_scrolling_stay_where_they_are(live: Page) -> None:
    run = make_run()
    write(run, "\n".join(f"line {number}" for number in range(200)))
    output = live.locator(f"[data-run='{run.pk}'] [data-text=stdout]")
    expect(output).to_contain_text("line 199")
    # At its end it follows what comes.
    at_end = "e => e.scrollHeight - e.scrollTop - e.clientHeight < 5"
    assert output.evaluate(at_end)
    write(run, "\n".join(f"line {number}" for number in range(300)))
    expect(output).to_contain_text("line 299")
    assert output.evaluate(at_end)
    # Elsewhere it stays with who reads.
    output.focus()
    output.evaluate("e => { e.scrollTop = 100; }")
    write(run, "\n".join(f"line {number}" for number in range(400)))
    make_run(user="ben")
    expect(output).to_contain_text("line 399")
    expect(live.get_by_role("status")).to_have_text("2 runs")
    assert output.evaluate("e => e.scrollTop") == 100
    expect(output).to_be_focused()


def test_it_says_when_the_server_does_not_answer_and_when_it_does_again(
    live: Page, complaints: list[str]
) -> None:
    make_run()
    expect(live.get_by_role("status")).to_have_text("1 run")
    live.route("**/live/runs/", lambda route: route.abort())
    expect(live.get_by_role("status")).to_contain_text("does not answer")
    expect(live.locator("[data-stale]")).to_have_count(1)
    live.unroute("**/live/runs/")
    expect(live.get_by_role("status")).to_have_text("1 run", timeout=30_000)
    expect(live.locator("[data-stale]")).to_have_count(0)
    assert all("net::ERR_FAILED" in complaint for complaint in complaints)
    complaints.clear()


def test_who_is_logged_out_is_told(live: Page) -> None:
    live.context.clear_cookies()
    expect(live.get_by_role("status")).to_contain_text("You are logged out.")


def test_strangers_text_is_text(live: Page, live_server: LiveServer) -> None:
    elsewhere: list[str] = []
    live.on("request", lambda request: elsewhere.append(request.url))
    for text in HOSTILE.values():
        run = make_run(user=text[:128], code=text, language=text[:16])
        write(run, text, text)
    expect(live.get_by_role("status")).to_have_text(f"{len(HOSTILE)} runs")
    last = live.locator(f"[data-run='{run.pk}']")
    expect(last.get_by_label("Output")).to_contain_text("%3Cscript%3E")
    last.locator("[data-stop]").click()
    expect(live.get_by_role("dialog")).to_be_visible()
    assert live.title() != "owned"
    assert live.locator(".live-run :is(script, img, svg, iframe, style, link, base)").count() == 0
    assert [url for url in elsewhere if not url.startswith(live_server.url)] == []


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_any_screen_in_light_and_dark(live: Page, width: int) -> None:
    live.set_viewport_size({"width": width, "height": 800})
    run = make_run(user="u" * 128, code="x" * 1000)
    write(run, "y" * 3000, "z" * 3000)
    expect(live.locator(f"[data-run='{run.pk}']").get_by_label("Errors")).to_be_visible()
    for theme in ("light", "dark"):
        live.evaluate(
            "theme => document.documentElement.classList.toggle('dark', theme == 'dark')", theme
        )
        wide = live.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, theme
        text = live.locator("[data-text=stdout]").evaluate(
            "e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]"
        )
        assert text[0] != text[1]


def test_the_picture(live: Page, picture: Callable[[Page, str], None]) -> None:
    code = "import time\nfor row in range(40):\n    print('row', row)\n    time.sleep(1)"
    write(make_run(code=code), "".join(f"row {number}\n" for number in range(6)))
    write(make_run(user="ben", language="bash", code="curl https://example.com"), "", "curl: (6)\n")
    expect(live.get_by_role("status")).to_have_text("2 runs")
    live.set_viewport_size({"width": 1280, "height": 720})
    picture(live, "live")
