"""How much of its quotas a key, or a user of it, has used."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from django.db.models import Sum

from audit.models import Execution, Reservation, SandboxFile, Usage
from keys.models import APIKey
from keys.quotas import Measure, Windows

MB = 1024 * 1024
USERS_SHOWN = 10


def used(
    key: APIKey, user_id: str, measures: Iterable[Measure], *, now: datetime
) -> dict[Measure, int]:
    """Of the key in all, where no user is given. Of a quota that is not set nothing is counted."""
    windows = Windows.at(now)
    today = Usage.objects.filter(key=key, user_id=user_id, day=windows.day.date()).first()
    found = dict.fromkeys(measures, 0)
    for measure in found:
        match measure:
            case Measure.CONCURRENT_RUNS:
                found[measure] = running(key, user_id)
            case Measure.STORED_MB:
                found[measure] = -(-stored_bytes(key, user_id) // MB)
            case _ if today:
                found[measure] = _counted(today, measure, windows)
    return found


def _counted(today: Usage, measure: Measure, windows: Windows) -> int:
    match measure:
        case Measure.RUNS_PER_MINUTE:
            return today.minute_runs if today.minute >= windows.minute else 0
        case Measure.RUNS_PER_HOUR:
            return today.hour_runs if today.hour >= windows.hour else 0
        case Measure.CPU_SECONDS_PER_DAY:
            return today.cpu_ms // 1000
        case _:
            return today.runs


def busiest_users(key: APIKey, measures: Collection[Measure], *, now: datetime) -> list[str]:
    """Who has used most of the key today, and who stores most if that is of interest."""
    today = Usage.objects.filter(key=key, day=Windows.at(now).day.date()).exclude(user_id="")
    by_runs = today.order_by("-runs", "-cpu_ms", "user_id").values_list("user_id", flat=True)
    users = list(by_runs[:USERS_SHOWN])
    if Measure.STORED_MB in measures:
        files = SandboxFile.objects.live().filter(session__key=key).exclude(session__user_id="")
        by_user = files.order_by().values("session__user_id").annotate(sum=Sum("size"))
        stored = by_user.order_by("-sum").values_list("session__user_id", flat=True)
        users += stored[:USERS_SHOWN]
    return list(dict.fromkeys(users))


def running(key: APIKey, user_id: str) -> int:
    runs = Execution.objects.running().filter(key=key)
    return (runs.filter(user_id=user_id) if user_id else runs).count()


def stored_bytes(key: APIKey, user_id: str) -> int:
    """With what is reserved for the files of runs that are just ending."""
    files = SandboxFile.objects.live().filter(session__key=key)
    promised = Reservation.objects.filter(
        key=key,
        stored_bytes__gt=0,
        # The worker of a run that has ended without taking it back is dead.
        id__in=Execution.objects.running().filter(key=key).values("pk"),
    )
    if user_id:
        files = files.filter(session__user_id=user_id)
        promised = promised.filter(user_id=user_id)
    kept: int = files.aggregate(sum=Sum("size"))["sum"] or 0
    reserved: int = promised.aggregate(sum=Sum("stored_bytes"))["sum"] or 0
    return kept + reserved
