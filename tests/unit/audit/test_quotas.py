"""What a key's page says of its quotas."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audit.admin.quotas_of_keys import Bar, quotas_of
from audit.models import Execution, SandboxFile, SandboxSession, Usage
from keys.models import APIKey, Issuer
from keys.quotas import Windows

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def key(db: None) -> APIKey:
    return APIKey.issue(name="Class")[0]


def use(key: APIKey, user_id: str = "", *, days_ago: int = 0, **numbers: Any) -> Usage:
    now = timezone.now() - timedelta(days=days_ago)
    windows = Windows.at(now)
    return Usage.objects.create(
        key=key,
        user_id=user_id,
        day=now.date(),
        **{"minute": windows.minute, "hour": windows.hour} | numbers,
    )


def shown(key: APIKey) -> dict[str, Any]:
    return quotas_of(key)


def text_of(client: Client, key: APIKey) -> str:
    return client.get(reverse("admin:keys_apikey_change", args=(key.pk,))).content.decode()


def test_each_quota_that_is_set_has_its_bar(key: APIKey) -> None:
    for name in ("runs_per_minute", "runs_per_hour", "runs_per_day", "cpu_seconds_per_day"):
        setattr(key, name, 10)
    key.concurrent_runs, key.stored_mb = 4, 5
    use(key, runs=9, minute_runs=1, hour_runs=12, cpu_ms=3999)
    later = timezone.now() + timedelta(hours=1)
    session = SandboxSession.objects.create(key=key, origin="run", expires_at=later)
    Execution.objects.create(key=key, session=session, language="py")
    SandboxFile.objects.create(session=session, name="a", size=1024 * 1024 + 1, sha256="0" * 64)
    assert shown(key)["bars"] == [
        Bar("runs per minute", 1, 10),
        Bar("runs per hour", 12, 10),
        Bar("runs per day", 9, 10),
        Bar("CPU seconds per day", 3, 10),
        Bar("runs at a time", 1, 4),
        Bar("MB of stored files", 2, 5),
    ]
    levels = [(bar.level, bar.shown) for bar in shown(key)["bars"][:3]]
    assert levels == [("low", 1), ("full", 10), ("high", 9)]


def test_a_window_that_is_over_is_empty(key: APIKey) -> None:
    key.runs_per_minute = key.runs_per_hour = key.runs_per_day = 5
    with time_machine.travel("2030-01-01 12:10Z", tick=False) as clock:
        use(key, runs=3, minute_runs=3, hour_runs=3)
        seen = []
        for minutes in (0, 1, 60, 24 * 60):
            clock.move_to("2030-01-01 12:10Z")
            clock.shift(timedelta(minutes=minutes))
            seen.append([bar.used for bar in shown(key)["bars"]])
    assert seen == [[3, 3, 3], [0, 3, 3], [0, 0, 3], [0, 0, 0]]


def test_users_are_listed_by_what_they_ran_or_store(key: APIKey) -> None:
    key.user_runs_per_day, key.user_stored_mb = 10, 1
    use(key, "few", runs=1, refused={"user_stored_mb": 2})
    use(key, "many", runs=8)
    later = timezone.now() + timedelta(hours=1)
    session = SandboxSession.objects.create(
        key=key, origin="upload", expires_at=later, user_id="keeps"
    )
    SandboxFile.objects.create(session=session, name="a", size=600_000, sha256="0" * 64)
    rows = shown(key)["users"]
    assert [(row.name, [bar.used for bar in row.bars], row.refused) for row in rows] == [
        ("many", [8, 0], 0),
        ("few", [1, 0], 2),
        ("keeps", [0, 1], 0),
    ]
    assert rows[0].link.endswith(f"?key__id__exact={key.pk}&user=many")


def test_a_key_without_quotas_says_nothing_of_them(admin_client: Client, key: APIKey) -> None:
    assert "<progress" not in text_of(admin_client, key)
    APIKey.objects.update(runs_per_day=3)
    text = text_of(admin_client, key)
    assert "0 of 3" in text
    assert text.count("<progress") == 1


def test_a_page_shows_what_was_refused_in_a_week(admin_client: Client, key: APIKey) -> None:
    use(key, refused={"runs_per_hour": 12, "user_stored_mb": 1})
    use(key, days_ago=6, refused={"concurrent_runs": 4})
    use(key, days_ago=7, refused={"runs_per_day": 99})
    text = text_of(admin_client, key)
    for expected in (
        "Runs per hour: 12",
        "MB of stored files of a user: 1",
        "Runs at a time: 4",
    ):
        assert expected in text
    assert "99" not in text[text.index("Refused in the last") : text.index("Runs at a time: 4")]


def test_a_users_name_is_inert_text(admin_client: Client, key: APIKey) -> None:
    APIKey.objects.update(user_runs_per_day=3)
    use(key, HOSTILE, runs=2)
    text = text_of(admin_client, key)
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(1)" in text


def test_a_tenants_page_shows_its_issuers_quotas(admin_client: Client, db: None) -> None:
    issuer = Issuer.objects.create(name="Chat", public_keys="", runs_per_day=7)
    tenant = APIKey.objects.for_tenant(issuer, "acme")
    use(tenant, runs=2)
    assert "2 of 7" in text_of(admin_client, tenant)
    use(APIKey.objects.for_tenant(issuer, "other"), runs=5)
    assert "2 of 7" in text_of(admin_client, tenant)


def test_a_page_of_a_key_can_still_be_added_rotated_and_revoked(
    admin_client: Client, key: APIKey
) -> None:
    for which in ("rotate", "revoke"):
        assert admin_client.get(f"/admin/keys/apikey/{key.pk}/{which}/").status_code == 200
    assert admin_client.get("/admin/keys/apikey/add/").status_code == 200
