from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from audit.models import Usage
from keys.models import APIKey
from keys.quotas import Windows

pytestmark = pytest.mark.django_db(transaction=True)


def used(**quotas: int) -> APIKey:
    """A key of which much was used today."""
    key, _ = APIKey.issue(name="Class", quotas=quotas)
    # Tomorrow's as well: the page may be asked for after midnight.
    for now in (timezone.now(), timezone.now() + timedelta(days=1)):
        windows = Windows.at(now)
        for user_id, runs in (("", 40), ("65f0c0ffee0123456789abcd", 30)):
            Usage.objects.create(
                key=key,
                user_id=user_id,
                day=now.date(),
                runs=runs,
                minute=windows.minute,
                hour=windows.hour,
            )
    return key


def test_a_key_is_given_quotas_and_shows_what_is_used(admin: Page, live_server: LiveServer) -> None:
    key = used()
    admin.goto(f"{live_server.url}/admin/keys/apikey/{key.pk}/change/")
    expect(admin.get_by_role("progressbar")).to_have_count(0)
    admin.locator("[name=runs_per_day]").fill("50")
    admin.locator("[name=user_runs_per_day]").fill("30")
    admin.get_by_role("button", name="Save and continue editing").click()
    expect(admin.get_by_role("progressbar", name="Runs per day: 40 of 50")).to_be_visible()
    row = admin.get_by_role("row", name="65f0c0ffee0123456789abcd")
    expect(row.get_by_role("progressbar", name="Runs per day: 30 of 30")).to_be_visible()
    row.get_by_role("link").click()
    expect(admin).to_have_url(
        f"{live_server.url}/admin/audit/execution/?key__id__exact={key.pk}&user=65f0c0ffee0123456789abcd"
    )


def test_the_picture(
    admin: Page, live_server: LiveServer, picture: Callable[[Page, str], None]
) -> None:
    key = used(runs_per_day=50, concurrent_runs=4, user_runs_per_day=30)
    admin.goto(f"{live_server.url}/admin/keys/apikey/{key.pk}/change/")
    expect(admin.get_by_role("progressbar", name="Runs per day: 40 of 50")).to_be_visible()
    picture(admin, "key")
