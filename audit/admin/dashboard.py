"""The admin's first page: how the service is used and how it fares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Count, Sum
from django.urls import reverse
from django.utils import timezone

from audit.admin import charts
from audit.admin.charts import Heatmap, Part, Ranking, Square
from audit.admin.links import address
from audit.admin.records import size
from audit.admin.use import Tile, Use, share
from audit.models import Execution, LimitHit, SandboxContainer, SandboxFile
from audit.statistics.facets import FAILURE, LANGUAGE, LIMIT, SEPARATOR, SOURCE, USER, Facet
from audit.statistics.periods import CHOICES
from keys.admin.issued import env
from keys.models import APIKey
from keys.visible import visible

if TYPE_CHECKING:
    from django.http import HttpRequest

Source = Execution.Source
State = SandboxContainer.State

TOP = 8
# What a new session takes; an own container that still lives is no question of the pool's.
FROM_ELSEWHERE = (Source.POOL, Source.RECYCLED, Source.CREATED)
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
# For Django's admin to extend.
admin.site.index_template = "audit/dashboard.html"


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's DASHBOARD_CALLBACK. Whoever may not see executions sees no numbers of them."""
    if not request.user.has_perm("audit.view_execution"):
        return context
    context["title"] = "Dashboard"
    if not Execution.objects.exists():
        return context | {"connect": connect(request)}
    use = Use(request.GET.get("period"))
    charts_of_use = [use.outcomes(), use.latencies()] if use.total else []
    return context | {
        "use": use,
        "tiles": [*use.outcome_tiles(), *use.duration_tiles(), *state_tiles(request, use)],
        "charts": charts_of_use,
        "rankings": list(rankings(use)) if use.total else [],
        "heatmap": heatmap(use),
        "zone": timezone.get_current_timezone_name(),
    }


def connect(request: HttpRequest) -> dict[str, Any]:
    """What is to be done before there can be anything to see."""
    base = f"{request.scheme}://{request.get_host()}"
    scheme, host = request.scheme or "http", request.get_host()
    may_add = request.user.has_perm("keys.add_apikey")
    return {
        "add_key": reverse("admin:keys_apikey_add") if may_add else "",
        "keys": APIKey.objects.with_secret().usable().count(),
        "with_header": env(base, "<key>"),
        "with_url": env(f"{scheme}://any:<key>@{host}", "<key>"),
        "curl": f"curl {base}/exec -H 'X-API-Key: <key>' -H 'Content-Type: application/json' \\\n"
        '  -d \'{"lang": "py", "code": "print(6 * 7)"}\'',
    }


def state_tiles(request: HttpRequest, use: Use) -> Iterator[Tile]:
    """How it is now, but for the pool's share, which is the period's."""
    running = Execution.objects.running().count()
    yield Tile(
        "Running now",
        charts.counted(running),
        "whenever they began",
        address("audit_execution", status__exact=Execution.Status.RUNNING.value),
    )
    if request.user.has_perm("audit.view_sandboxcontainer"):
        states = dict(
            SandboxContainer.objects.occupying()
            .order_by()
            .values_list("state")
            .annotate(Count("pk"))
        )
        for state, label, note in (
            (State.LEASED, "Active containers", "a run has them"),
            (State.WARM, "Warm containers", "started ahead"),
        ):
            href = address("audit_sandboxcontainer", state__exact=state.value)
            others = f"{note}; {states.get(State.IDLE, 0)} idle" if state == State.LEASED else note
            yield Tile(label, charts.counted(states.get(state, 0)), others, href)
    sources = use.statistics.sources
    needed = sum(sources[source] for source in FROM_ELSEWHERE)
    yield Tile(
        "Pool hits",
        share(sources[Source.POOL], needed),
        f"of {charts.amount(needed, 'run')} that needed a container",
        use.links.list(container_source__exact=Source.POOL.value),
    )
    if request.user.has_perm("audit.view_sandboxfile"):
        kept = SandboxFile.objects.filter(deleted_at=None).aggregate(
            bytes=Sum("size"), files=Count("pk")
        )
        yield Tile(
            "Stored",
            size(kept["bytes"] or 0),
            charts.amount(kept["files"], "file"),
            address("audit_sandboxfile", deleted_at__isnull=True),
        )


def rankings(use: Use) -> Iterator[Ranking]:
    sources = {source.value: f"{source.label}" for source in Source}
    limits = dict(LimitHit.choices)
    yield ranked(use, "Runs by language", LANGUAGE, visible, lambda it: {"language": it})
    yield ranked(
        use,
        "Where containers came from",
        SOURCE,
        lambda it: sources.get(it, it).capitalize(),
        lambda it: {"container_source__exact": it},
    )
    yield keys(use)
    yield ranked(use, "Top users", USER, visible, lambda it: {"user": it})
    yield failures(use)
    yield ranked(
        use,
        "Limits that runs hit",
        LIMIT,
        lambda it: str(limits.get(it, visible(it))).capitalize(),
        lambda it: {"limit": it},
    )


def ranked(
    use: Use,
    title: str,
    facet: Facet,
    label: Callable[[str], str],
    filters: Callable[[str], dict[str, object]],
) -> Ranking:
    return charts.ranking(
        title,
        [
            Part(label(value), runs, use.links.list(**filters(value)))
            for value, runs in use.statistics.most(facet, TOP)
        ],
    )


def keys(use: Use) -> Ranking:
    found = use.statistics.busiest_keys(TOP)
    names = APIKey.objects.in_bulk([key for key, _ in found])
    return charts.ranking(
        "Top keys",
        [Part(str(names[key]), runs, use.links.list(key__id__exact=key)) for key, runs in found],
    )


def failures(use: Use) -> Ranking:
    """By what ended the run and, where the sandbox has something to say of it, by that."""
    statuses = dict(Execution.Status.choices)
    parts = []
    for value, runs in use.statistics.most(FAILURE, TOP):
        status, _, message = value.partition(SEPARATOR)
        label = str(statuses.get(status, status)).capitalize()
        parts.append(
            Part(
                f"{label}: {visible(message)}" if message else label,
                runs,
                use.links.list(status__exact=status, message__exact=message),
                series=status,
            )
        )
    return charts.ranking("Errors by kind", parts, "No errors in this period.")


def heatmap(use: Use) -> Heatmap:
    """Of a week at least: of less, most of it would be empty."""
    of_week = use if use.choice.name in ("week", "month") else Use("week", now=use.now)
    hours: Counter[tuple[int, int]] = Counter()
    for moment, runs in of_week.statistics.runs_by_hour.items():
        local = timezone.localtime(moment)
        hours[local.isoweekday(), local.hour] += runs
    most = max(hours.values(), default=0)
    days = [
        (
            day,
            [
                Square(
                    f"{day} {hour}:00 to {hour}:59, {charts.amount(hours[number, hour], 'run')}",
                    charts.counted(hours[number, hour]),
                    charts.level(hours[number, hour], most),
                    of_week.links.list(created_at__iso_week_day=number, created_at__hour=hour),
                )
                for hour in range(24)
            ],
        )
        for number, day in enumerate(DAYS, 1)
    ]
    title = f"When programs run, {CHOICES[of_week.choice.name].title.lower()}"
    return Heatmap(title, [str(hour) for hour in range(24)], days)
