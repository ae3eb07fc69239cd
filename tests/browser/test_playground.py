"""The playground, with programs that really run, though in nothing that confines them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, Page, expect

from audit.models import Execution
from keys.models import APIKey
from tests.browser.hostile import HOSTILE
from tests.fakes.engine import FakeEngine

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def playground(admin: Page, fake: FakeEngine) -> Page:
    APIKey.issue(name="LibreChat")
    admin.get_by_role("link", name="Playground").click()
    expect(admin.locator("[name=code]")).to_have_value('print("Hello from the playground")\n')
    return admin


def run(page: Page, code: str) -> None:
    """By keyboard, until its answer is there."""
    page.locator("[name=code]").fill(code)
    page.locator("[name=code]").press("Control+Enter")
    expect(page.locator("[data-start]")).to_have_attribute("aria-disabled", "false", timeout=60_000)


def test_a_program_is_run_and_everything_about_it_shown(playground: Page) -> None:
    playground.locator("[name=user]").fill("65f0c0ffee")
    playground.locator("[name=args]").fill("one\ntwo words\n")
    given: list[FilePayload] = [
        {"name": "given.csv", "mimeType": "text/csv", "buffer": b"a,b\n"},
        {"name": "übung 2.txt", "mimeType": "text/plain", "buffer": b"two"},
    ]
    playground.locator("[name=files]").set_input_files(given)
    run(
        playground,
        "import sys, os\nprint(sys.argv[1:], sorted(os.listdir()))\n"
        "print('bad', file=sys.stderr)\nopen('out.txt', 'w').write('written')",
    )
    expect(playground.get_by_role("status")).to_have_text(re.compile("Status 200 after"))
    model = playground.get_by_label("What the model reads")
    expect(model).to_have_text(
        re.compile(
            r"stdout:\n\['one', 'two words'\] .*'given\.csv', .*'übung 2\.txt'\]\n\nstderr:\nbad"
        )
    )
    expect(playground.get_by_text("the run has made 1 file")).to_be_visible()
    for name, kind in (("out.txt", "new"), ("given.csv", "given"), ("übung 2.txt", "given")):
        expect(playground.locator(".play-files li", has_text=name)).to_contain_text(kind)
    with playground.expect_download() as download:
        playground.get_by_role("link", name="out.txt").click()
    assert Path(download.value.path()).read_text() == "written"
    expect(playground.get_by_label("What LibreChat gets")).to_contain_text('"stderr": "bad\\n"')
    expect(playground.get_by_role("row", name="run").first).to_contain_text("ms")
    playground.get_by_role("link", name="Its execution").click()
    expect(playground.get_by_text("65f0c0ffee").first).to_be_visible()
    assert Execution.objects.get().args == ["one", "two words"]


def test_a_session_is_kept_if_one_wants_that(playground: Page) -> None:
    run(playground, "open('a.txt', 'w').write('kept')")
    run(playground, "import os; print(os.listdir())")
    expect(playground.get_by_label("What the model reads")).not_to_contain_text("a.txt")
    playground.locator("[name=same]").check()
    run(playground, "open('a.txt', 'w').write('kept')")
    run(playground, "print(open('a.txt').read())")
    expect(playground.get_by_label("What the model reads")).to_have_text("stdout:\nkept")


def test_what_the_api_refuses_is_shown_as_it_refuses_it(
    playground: Page, complaints: list[str]
) -> None:
    playground.locator("[name=args]").fill("x" * 200_000)
    run(playground, "print(1)")
    expect(playground.get_by_role("status")).to_have_text(re.compile("Status 400 after"))
    answer = playground.get_by_label("What LibreChat gets")
    expect(answer).to_contain_text('"error": "Invalid request"')
    expect(answer).to_contain_text("Too long for a command line.")
    expect(playground.get_by_text("the call was refused")).to_be_visible()
    assert not Execution.objects.exists()
    assert all("400" in complaint for complaint in complaints)
    complaints.clear()


def test_what_programs_print_is_text(playground: Page) -> None:
    everything = "\n".join(HOSTILE.values())
    name = HOSTILE["handler"].replace("/", ":").replace("\\", ":")
    run(playground, f"print({everything!r})\nopen({name!r}, 'w').close()")
    expect(playground.get_by_label("What the model reads")).to_contain_text("owned")
    expect(playground.get_by_role("link", name=name)).to_be_visible()
    assert playground.title() != "owned"
    assert playground.locator(".play-answer :is(script, img, svg, iframe, style)").count() == 0


def test_without_a_key_it_leads_to_where_one_is_made(admin: Page) -> None:
    admin.get_by_role("link", name="Playground").click()
    admin.get_by_role("link", name="Issue one").click()
    expect(admin).to_have_url(re.compile("/admin/keys/apikey/add/"))


TABLE = """
import csv, statistics

sales = {"Jan": 10, "Feb": 14, "Mar": 13}
print("on average", round(statistics.mean(sales.values()), 2))
with open("sales.csv", "w") as file:
    csv.writer(file).writerows(sales.items())
"""


def test_the_picture(playground: Page, picture: Callable[[Page, str], None]) -> None:
    playground.locator("[name=user]").fill("65f0c0ffee0123456789abcd")
    run(playground, TABLE.strip())
    expect(playground.get_by_role("status")).to_have_text(re.compile("Status 200 after"))
    playground.set_viewport_size({"width": 1280, "height": 1500})
    picture(playground, "playground")
