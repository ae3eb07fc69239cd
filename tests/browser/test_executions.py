"""The list of runs, a run's page and what is taken along from them, as each role meets them."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.urls import reverse
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from audit.admin.records import quoted
from audit.models import Execution
from tests.browser.hostile import HOSTILE, everywhere
from tests.roles import ROLES, staff

pytestmark = pytest.mark.django_db(transaction=True)

LIST = reverse("admin:audit_execution_changelist")
PHONE = {"width": 390, "height": 844}
CODE = "import math\n\ndef area(radius):\n    # Of a circle\n    return math.pi * radius ** 2\n"


def ordinary_run() -> Execution:
    run = everywhere("plain")
    steps = {"session": 2.5, "run": 12.5, "store": 5, "total": 20}
    Execution.objects.filter(pk=run.pk).update(code=CODE, stdout="78.54\n" * 200, step_ms=steps)
    run.refresh_from_db()
    return run


def page_of(run: Execution) -> str:
    return reverse("admin:audit_execution_change", args=(quoted(run),))


def log_in(page: Page, live_server: LiveServer, role: str) -> None:
    staff(role, "correct horse")
    page.goto(f"{live_server.url}/admin/")
    page.get_by_label("Username").fill(role)
    page.get_by_label("Password").fill("correct horse")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("link", name="Executions").first).to_be_visible()


def colour(page: Page, selector: str) -> str:
    found: str = page.locator(selector).first.evaluate("e => getComputedStyle(e).color")
    return found


def fits(page: Page) -> bool:
    page.wait_for_function("window.Alpine && document.readyState === 'complete'")
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_code_has_colours_and_is_copied_by_keyboard(
    admin: Page, live_server: LiveServer, scheme: str
) -> None:
    run = ordinary_run()
    admin.context.grant_permissions(["clipboard-read", "clipboard-write"])
    admin.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    admin.goto(live_server.url + page_of(run))
    plain = colour(admin, ".run-code")
    colours = {colour(admin, f".run-code .{token}") for token in ("k", "nf", "c1", "mi")}
    assert len(colours) == 4
    assert plain not in colours
    assert admin.locator(".run-code").inner_text() == CODE
    admin.locator("[data-copy=run-code]").focus()
    admin.keyboard.press("Enter")
    expect(admin.locator("[data-copy=run-code]")).to_have_text("Copied")
    assert admin.evaluate("navigator.clipboard.readText()") == CODE


def test_what_is_long_folds_by_keyboard(admin: Page, live_server: LiveServer) -> None:
    admin.goto(live_server.url + page_of(ordinary_run()))
    output = admin.locator(".run-stdout pre")
    expect(output).to_be_visible()
    expect(admin.locator(".run-stdout summary")).to_contain_text("200 lines")
    # It scrolls in its own box, also by keyboard.
    assert output.evaluate("e => e.scrollHeight > e.clientHeight && e.tabIndex === 0")
    admin.locator(".run-stdout summary").focus()
    admin.keyboard.press("Enter")
    expect(output).to_be_hidden()
    admin.keyboard.press("Enter")
    expect(output).to_be_visible()


def test_the_steps_are_bars_one_after_another(admin: Page, live_server: LiveServer) -> None:
    admin.goto(live_server.url + page_of(ordinary_run()))
    expect(admin.locator(".run-timeline tr")).to_have_count(3)
    boxes = [bar.bounding_box() for bar in admin.locator(".run-timeline rect").all()]
    edges = [(box["x"], box["x"] + box["width"]) for box in boxes if box]
    session, run, store = (end - begin for begin, end in edges)
    assert 0 < session < store < run
    for (_, end), (begin, _) in itertools.pairwise(edges):
        assert begin == pytest.approx(end, abs=1)


def test_the_filtered_list_is_saved(admin: Page, live_server: LiveServer, tmp_path: Path) -> None:
    run = ordinary_run()
    other = everywhere("another")
    admin.goto(f"{live_server.url}{LIST}?q=of+a+circle")
    expect(admin.get_by_text("1 execution", exact=True)).to_be_visible()
    saved = {}
    for kind in ("CSV", "JSON lines"):
        with admin.expect_download() as download:
            admin.get_by_role("button", name=kind).click()
        saved[kind] = tmp_path / download.value.suggested_filename
        download.value.save_as(saved[kind])
    with saved["CSV"].open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["code"] == json.loads(saved["JSON lines"].read_text())["code"] == CODE
    assert saved["CSV"].name.startswith("executions-")
    assert row["id"].lstrip("'") == run.pk != other.pk
    admin.goto(live_server.url + reverse("admin:admin_logentry_changelist"))
    expect(admin.get_by_text("Exported with code and output; a search.")).to_have_count(2)


def test_a_file_is_saved(
    page: Page, live_server: LiveServer, store_dir: Path, tmp_path: Path
) -> None:
    run = ordinary_run()
    file = run.files.get()
    path = store_dir / file.store_key
    path.parent.mkdir(parents=True)
    path.write_bytes(b"<script>document.title = 'owned'</script>")
    log_in(page, live_server, "operator")
    page.goto(live_server.url + page_of(run))
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").first.click()
    download.value.save_as(tmp_path / "saved")
    assert (tmp_path / "saved").read_bytes() == path.read_bytes()
    assert page.title() != "owned"


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_meets(page: Page, live_server: LiveServer, role: str, tmp_path: Path) -> None:
    run = ordinary_run()
    log_in(page, live_server, role)
    reads, downloads = role != "key manager", role == "operator"
    page.goto(live_server.url + LIST)
    expect(page.get_by_text("import math")).to_have_count(1 if reads else 0)
    page.goto(live_server.url + page_of(run))
    expect(page.get_by_text("def area")).to_have_count(1 if reads else 0)
    expect(page.get_by_text("Your role does not show it.")).to_have_count(0 if reads else 2)
    assert (page.get_by_role("link", name="Download").count() > 0) == downloads
    page.screenshot(path=tmp_path / f"{role}.png", full_page=True)
    # Every way that the page offers is one that the role may go.
    links = page.locator("nav a, main a, aside a, #nav-sidebar a").evaluate_all(
        "all => all.map(a => a.getAttribute('href')).filter(href => href?.startsWith('/admin/'))"
    )
    for link in sorted(set(links) - {reverse("admin:logout")}):
        if not link.endswith("/download/"):
            assert page.request.get(live_server.url + link).status == 200, link


def test_it_all_fits_on_a_phone(admin: Page, live_server: LiveServer, tmp_path: Path) -> None:
    run = ordinary_run()
    admin.set_viewport_size(PHONE)  # type: ignore[arg-type]
    user = staff("viewer")
    places = {
        "list": LIST,
        "run": page_of(run),
        "log": reverse("admin:admin_logentry_changelist"),
        "user": reverse("admin:auth_user_change", args=(user.pk,)),
        "roles": reverse("admin:auth_group_changelist"),
        "role": reverse("admin:auth_group_change", args=(user.groups.get().pk,)),
    }
    for name, place in places.items():
        admin.goto(live_server.url + place)
        assert fits(admin), name
        admin.screenshot(path=tmp_path / f"phone-{name}.png", full_page=True)


@pytest.mark.parametrize("kind", HOSTILE)
def test_the_log_shows_names_as_text(admin: Page, live_server: LiveServer, kind: str) -> None:
    """Of files and keys, which strangers choose."""
    LogEntry.objects.create(
        user=User.objects.get(),
        content_type=ContentType.objects.get_for_model(Execution),
        object_id="x",
        object_repr=HOSTILE[kind][:200],
        action_flag=CHANGE,
        change_message=HOSTILE[kind],
    )
    admin.goto(live_server.url + reverse("admin:admin_logentry_changelist"))
    assert fits(admin)
    assert admin.locator("#result_list tbody tr").count() == 1
    assert admin.locator("main img, main svg[onload], iframe, base, meta[http-equiv]").count() == 0
    assert admin.title() != "owned"
