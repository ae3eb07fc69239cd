from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from keys.models import APIKey

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_key_is_given_an_image(
    admin: Page, live_server: LiveServer, settings: Settings, tmp_path: Path
) -> None:
    settings.SANDBOX_IMAGES = {
        "science": "custom-rce-science:latest",
        "maps": "custom-rce-maps:latest",
    }
    key = APIKey.issue(name="The physics department")[0]
    admin.goto(f"{live_server.url}/admin/keys/apikey/{key.pk}/change/")
    choice = admin.get_by_label("Sandbox image")
    expect(choice).to_have_value("")
    choice.select_option("science")
    choice.scroll_into_view_if_needed()
    shots = Path(os.environ.get("SHOTS", tmp_path))
    admin.screenshot(path=shots / "image.png")
    admin.get_by_role("button", name="Save").first.click()
    expect(admin.get_by_text("was changed successfully")).to_be_visible()
    key.refresh_from_db()
    assert key.image == "science"
