from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db.models import Model
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from audit.admin.charts import Chart, Heatmap, Part, nice
from audit.admin.use import Tile, share
from audit.models import Execution, SandboxContainer, SandboxFile
from audit.statistics.periods import CHOICES
from audit.statistics.rolling import roll_up
from keys.models import APIKey, Issuer
from tests.unit.audit.conftest import Make
from tests.unit.audit.runs import random_runs

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>\"'}}{{<img src=x onerror=alert(2)>"


def page(client: Client, period: str = "") -> dict[str, Any]:
    answer = client.get(reverse("admin:index"), {"period": period} if period else {})
    assert answer.status_code == 200
    context: dict[str, Any] = answer.context_data or {}
    return context


def listed(href: str, user: User) -> int:
    """How many rows the list at the other end of a link has."""
    url = urlsplit(href)
    models: dict[str, type[Model]] = {
        reverse("admin:audit_execution_changelist"): Execution,
        reverse("admin:audit_sandboxcontainer_changelist"): SandboxContainer,
        reverse("admin:audit_sandboxfile_changelist"): SandboxFile,
    }
    request = RequestFactory().get(url.path, dict(parse_qsl(url.query, keep_blank_values=True)))
    request.user = user
    model_admin = admin.site.get_model_admin(models[url.path])
    rows: int = model_admin.get_changelist_instance(request).queryset.count()
    return rows


def number(text: str) -> int:
    found = re.search(r"[\d,]+", text)
    assert found
    return int(found[0].replace(",", ""))


def of_chart(chart: Chart) -> Iterator[tuple[str, int]]:
    """What it says, and where that leads."""
    for series in chart.series:
        if series.href:
            yield series.href, number(series.total)
    if chart.unit != "runs":
        return
    for row in chart.rows:
        yield row.head.href, sum(number(cell.text) for cell in row.cells if cell.href)
        yield from ((cell.href, number(cell.text)) for cell in row.cells if cell.href)
    for mark in chart.marks:
        yield mark.href, number(mark.title.rpartition(": ")[2])


def of_heatmap(heatmap: Heatmap) -> Iterator[tuple[str, int]]:
    for _, squares in heatmap.days:
        yield from ((square.href, number(square.text)) for square in squares if square.level)


def of_tiles(tiles: list[Tile]) -> Iterator[tuple[str, int]]:
    for tile in tiles:
        if tile.label in ("Runs", "Running now", "Active containers", "Warm containers"):
            yield tile.href, number(tile.value)
        elif tile.href and tile.label != "Pool hits":
            yield tile.href, number(tile.note)


def of_parts(parts: list[Part]) -> Iterator[tuple[str, int]]:
    yield from ((part.href, part.runs) for part in parts)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
@pytest.mark.parametrize("period", CHOICES)
def test_every_number_leads_to_as_many_rows(
    admin_client: Client, admin_user: User, settings: Settings, period: str, zone: str
) -> None:
    settings.TIME_ZONE = zone
    runs = random_runs(80, timezone.now(), days=0.04 if period == "hour" else 30, seed=7)
    roll_up(batch=300)
    for state in ("leased", "warm", "idle", "warm"):
        SandboxContainer.objects.create(state=state)
    SandboxFile.objects.create(session=runs[0].session, name="a", size=2048, sha256="a" * 64)
    found = page(admin_client, period)
    links = [
        *of_tiles(found["tiles"]),
        *of_heatmap(found["heatmap"]),
        *(link for chart in found["charts"] for link in of_chart(chart)),
        *(link for ranking in found["rankings"] for link in of_parts(ranking.parts)),
    ]
    assert len(links) > 40
    wrong = {
        href: (said, rows) for href, said in links if (rows := listed(href, admin_user)) != said
    }
    assert wrong == {}


def test_a_percentile_leads_to_what_took_as_long(
    admin_client: Client, admin_user: User, make_run: Make
) -> None:
    for ms in [*range(1, 100), 5000]:
        make_run(wall_ms=ms)
    tiles = {tile.label: tile for tile in page(admin_client)["tiles"]}
    assert tiles["p50 of time"].value in ("49 ms", "50 ms", "51 ms")
    assert listed(tiles["p50 of time"].href, admin_user) == number(tiles["p50 of time"].note)
    assert tiles["p99 of time"].value in ("97 ms", "98 ms", "99 ms", "100 ms", "101 ms")
    (chart,) = [chart for chart in page(admin_client)["charts"] if chart.unit != "runs"]
    assert {mark.series for mark in chart.marks} == {"p50", "p95", "p99"}
    for mark in chart.marks:
        assert listed(mark.href, admin_user) >= 1


def test_the_pools_share_is_of_those_that_needed_a_container(
    admin_client: Client, make_run: Make
) -> None:
    for source in ["session", "session", "pool", "pool", "pool", "created", ""]:
        make_run(container_source=source)
    (tile,) = [tile for tile in page(admin_client)["tiles"] if tile.label == "Pool hits"]
    assert (tile.value, tile.note) == ("75.0%", "of 4 runs that needed a container")


def test_a_share_is_whole_only_if_all_of_it_is() -> None:
    assert share(0, 0) == "-"
    assert share(9_999, 10_000) == "99.9%"
    assert share(10_000, 10_000) == "100%"
    assert share(1, 3) == "33.3%"


@pytest.mark.parametrize("most", [0, 1, 3, 4, 5, 8, 9, 41, 399, 400, 401, 999_999])
def test_an_axis_ends_at_a_number_that_is_divided_evenly(most: int) -> None:
    top = nice(most)
    assert most <= top <= max(4, 3 * most)
    assert top % 4 == 0


@pytest.mark.parametrize("period", ["nonsense", "<b>", "hour", ""])
def test_an_unknown_period_is_the_usual_one(
    admin_client: Client, make_run: Make, period: str
) -> None:
    make_run()
    chosen = page(admin_client, period)["use"].choice.name
    assert chosen == ("hour" if period == "hour" else "day")


def test_before_the_first_run_it_says_how_to_connect(admin_client: Client) -> None:
    text = admin_client.get(reverse("admin:index")).content.decode()
    assert "connect LibreChat" in text
    assert "LIBRECHAT_CODE_BASEURL=http://testserver" in text
    assert reverse("admin:keys_apikey_add") in text
    assert 'class="use-tiles"' not in text


def test_a_period_without_runs_says_so(admin_client: Client, make_run: Make) -> None:
    make_run(created_at=timezone.now() - timedelta(days=3))
    text = admin_client.get(reverse("admin:index")).content.decode()
    assert "No runs in this period." in text
    assert "connect LibreChat" not in text


def staff(*permissions: str) -> Client:
    user = User.objects.create_user("staff", password="x", is_staff=True)
    for permission in permissions:
        app, _, codename = permission.partition(".")
        user.user_permissions.add(
            Permission.objects.get(content_type__app_label=app, codename=codename)
        )
    client = Client()
    client.force_login(user)
    return client


def test_who_may_not_see_executions_sees_no_number_of_them(make_run: Make) -> None:
    run = make_run(text="Mallory")
    client = staff("keys.view_apikey", "audit.view_sandboxcontainer")
    for address in (
        reverse("admin:index"),
        reverse("admin:keys_apikey_change", args=(run.key_id,)),
    ):
        text = client.get(address).content.decode()
        assert "API keys" in text
        assert 'class="use-tiles"' not in text
        assert "connect LibreChat" not in text
        assert "Mallory" not in text


def test_who_may_only_see_executions_sees_them_alone(make_run: Make) -> None:
    make_run(text="Mallory")
    client = staff("audit.view_execution")
    found = page(client)
    labels = {tile.label for tile in found["tiles"]}
    assert {"Runs", "Succeeded", "Running now"} <= labels
    assert not {"Active containers", "Warm containers", "Stored"} & labels
    text = client.get(reverse("admin:index")).content.decode()
    assert reverse("admin:keys_apikey_add") not in text
    assert "Mallory" in text


def test_a_key_has_its_own_charts_and_an_issuer_those_of_its_tenants(
    admin_client: Client, admin_user: User, make_run: Make
) -> None:
    issuer = Issuer.objects.create(name="Chat", public_keys="x")
    tenants = [APIKey.objects.for_tenant(issuer, name) for name in ("one", "two")]
    make_run(wall_ms=10)
    for key in (*tenants, tenants[0]):
        make_run(key=key, wall_ms=2000, status="failed")
    places = {
        reverse("admin:keys_apikey_change", args=(tenants[0].pk,)): 2,
        reverse("admin:keys_apikey_change", args=(APIKey.objects.get(name="Alice").pk,)): 1,
        reverse("admin:keys_issuer_change", args=(issuer.pk,)): 3,
    }
    for rolled_up in (False, True):
        for address, runs in places.items():
            answer = admin_client.get(address, {"period": "week"})
            text = answer.content.decode()
            hrefs = re.findall(r'<dt>Runs</dt>\s*<dd>\s*<a href="([^"]+)">([\d,]+)', text)
            ((href, said),) = hrefs
            assert int(said) == runs
            assert listed(href.replace("&amp;", "&"), admin_user) == runs
            assert "Runs by outcome" in text
            assert "Last used" in text
        if not rolled_up:
            Execution.objects.update(created_at=timezone.now() - timedelta(hours=3))
            assert roll_up(batch=500) > 1


def test_a_key_that_was_never_used_and_one_that_is_to_be_made(admin_client: Client) -> None:
    key, _ = APIKey.issue(name="Idle")
    text = admin_client.get(reverse("admin:keys_apikey_change", args=(key.pk,))).content.decode()
    assert "No runs in this period." in text
    assert "Never" in text
    assert admin_client.get(reverse("admin:keys_apikey_add")).status_code == 200
    assert admin_client.get(reverse("admin:keys_issuer_add")).status_code == 200


def test_hostile_text_is_inert(admin_client: Client, make_run: Make) -> None:
    make_run(text=HOSTILE, status="failed", language=HOSTILE[:16], limits_hit=[HOSTILE])
    APIKey.objects.update(name=HOSTILE)
    text = admin_client.get(reverse("admin:index")).content.decode()
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "&lt;script&gt;alert(1)" in text
