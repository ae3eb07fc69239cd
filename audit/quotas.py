"""How much of its quotas a key, or a user of it, has used."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from audit.models import Execution, SandboxFile, Usage
from keys.models import APIKey
from keys.quotas import Measure, Windows

MB = 1024 * 1024
USERS_SHOWN = 10

# The files as `SandboxFile.live` has them, from the key's live sessions on, and what is reserved
# for those of runs that are just ending. A reservation counts until its run has ended, which is in
# the transaction that writes the files' rows, so nothing is missing or counted twice in between;
# the worker of a run that has ended without taking its reservation back is dead.
STORED = """
    SELECT COALESCE(sum(size), 0)::bigint AS of_key,
        COALESCE(sum(size) FILTER (WHERE user_id = %(user)s), 0)::bigint AS of_user
    FROM (
        SELECT file.size, session.user_id FROM audit_sandboxsession AS session
        JOIN audit_sandboxfile AS file
        ON file.session_id = session.id AND file.deleted_at IS NULL
        WHERE session.key_id = %(key)s
        AND session.ended_at IS NULL AND session.expires_at > %(now)s
        AND (%(of_all)s OR session.user_id = %(user)s)
        UNION ALL
        SELECT promised.stored_bytes, promised.user_id FROM audit_reservation AS promised
        JOIN audit_execution AS run ON run.id = promised.id AND run.status = 'running'
        WHERE promised.key_id = %(key)s AND promised.stored_bytes > 0
    ) AS stored
"""


class Stored(NamedTuple):
    """In bytes."""

    of_key: int
    of_user: int


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
    """Of the key in all, where no user is given."""
    stored = stored_of(key, user_id, of_all=not user_id)
    return stored.of_user if user_id else stored.of_key


def stored_of(key: APIKey, user_id: str, *, of_all: bool = True) -> Stored:
    """Without `of_all` only of the user, which does not read what the others have."""
    with connection.cursor() as cursor:
        cursor.execute(STORED, values_of_stored(key, user_id, of_all=of_all))
        return Stored(*cursor.fetchone())


def values_of_stored(key: APIKey, user_id: str, *, of_all: bool) -> dict[str, Any]:
    return {"key": key.pk, "user": user_id, "of_all": of_all, "now": timezone.now()}
