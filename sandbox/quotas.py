"""Quotas, counted in Postgres: exactly, however many processes there are.

All that counts for a key, or for a user of it, happens one after the other, under a lock of the
key's in Postgres, for as long as one statement takes. A key without a quota is never seen here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Q
from django.utils import timezone

from audit.models import Execution, Reservation, Usage
from keys.models import APIKey
from keys.quotas import OF_RUNS, QUOTA_BY_NAME, Holder, Quota, Windows
from sandbox.database import replace_broken_connection
from sandbox.errors import AtCapacity, EngineUnavailable, QuotaExceeded

logger = logging.getLogger(__name__)

# Of advisory locks with two numbers; the second one is the key's.
KEY_LOCK = 7_245_005
LOCK = "SELECT pg_advisory_xact_lock(%(lock)s, (%(key)s %% 2147483648)::int)"
# From its place among those of a key to its row it takes a run milliseconds, or as long as an
# engine needs to remove a container that makes room.
PLACE = timedelta(minutes=2)
DAYS_KEPT = 31
ANYBODY = "*"
OF_RUNS_OF_USERS = tuple(quota for quota in OF_RUNS if quota.holder == Holder.USER)

# Together one transaction and one round trip, in which the second statement sees what was before
# the lock. What is lost in a crash of Postgres is lost with the runs that it counts.
LOCKED = f"SET LOCAL synchronous_commit = off; {LOCK}; "

# The row that is found is the quota that keeps the run, and is then counted as refused; without
# any, the run is counted and has its place.
ADMIT = """
    WITH quota AS (
        SELECT * FROM unnest(
            %(names)s::text[], %(measures)s::text[], %(holders)s::text[], %(most)s::bigint[],
            %(ends)s::timestamptz[]
        ) AS quota (name, measure, holder, most, ends_at)
    ), spent AS (
        SELECT quota.*, CASE measure
            WHEN 'runs_per_minute' THEN
                CASE WHEN today.minute >= %(minute)s THEN today.minute_runs END
            WHEN 'runs_per_hour' THEN
                CASE WHEN today.hour >= %(hour)s THEN today.hour_runs END
            WHEN 'runs_per_day' THEN today.runs
            WHEN 'cpu_seconds_per_day' THEN today.cpu_ms / 1000
            WHEN 'concurrent_runs' THEN (
                SELECT count(*) FROM audit_execution AS run
                WHERE run.status = 'running' AND run.key_id = %(key)s
                AND quota.holder IN ('', run.user_id)
            ) + (
                SELECT count(*) FROM audit_reservation AS place
                WHERE place.key_id = %(key)s AND place.created_at > %(places_since)s
                AND quota.holder IN ('', place.user_id)
                AND NOT EXISTS (SELECT FROM audit_execution AS run WHERE run.id = place.id)
            )
        END AS used
        FROM quota LEFT JOIN audit_usage AS today
        ON today.key_id = %(key)s AND today.user_id = quota.holder AND today.day = %(day)s
    ), exceeded AS (
        SELECT name, measure, most, ends_at FROM spent WHERE used >= most
        ORDER BY ends_at DESC, name LIMIT 1
    ), placed AS (
        INSERT INTO audit_reservation (id, key_id, user_id, stored_bytes, created_at)
        SELECT %(execution)s, %(key)s, %(user)s, 0, %(now)s
        WHERE 'concurrent_runs' IN (SELECT measure FROM quota)
        AND NOT EXISTS (SELECT FROM exceeded)
    ), counted AS (
        INSERT INTO audit_usage AS kept (
            key_id, user_id, day, runs, minute, minute_runs, hour, hour_runs, cpu_ms, refused
        )
        SELECT
            %(key)s, holder, %(day)s, one, %(minute)s, one, %(hour)s, one, 0,
            CASE WHEN exceeded.name IS NULL THEN '{}' ELSE jsonb_build_object(exceeded.name, 1) END
        FROM unnest(%(counted)s::text[]) AS holder LEFT JOIN exceeded ON true,
            LATERAL (SELECT (exceeded.name IS NULL)::int AS one) AS run
        ON CONFLICT (key_id, user_id, day) DO UPDATE SET
            runs = kept.runs + excluded.runs,
            -- The clocks of two servers differ: a window that has begun is not left again.
            minute_runs = excluded.minute_runs +
                CASE WHEN kept.minute >= excluded.minute THEN kept.minute_runs ELSE 0 END,
            minute = GREATEST(kept.minute, excluded.minute),
            hour_runs = excluded.hour_runs +
                CASE WHEN kept.hour >= excluded.hour THEN kept.hour_runs ELSE 0 END,
            hour = GREATEST(kept.hour, excluded.hour),
            refused = kept.refused || (
                SELECT COALESCE(jsonb_object_agg(
                    name, COALESCE((kept.refused ->> name)::bigint, 0) + 1
                ), '{}')
                FROM jsonb_object_keys(excluded.refused) AS name
            )
    )
    SELECT name, most, ends_at FROM exceeded
"""
SETTLE = """
    WITH freed AS (DELETE FROM audit_reservation WHERE id = %(execution)s)
    UPDATE audit_usage SET
        cpu_ms = cpu_ms + %(cpu_ms)s,
        runs = runs - %(given_back)s,
        minute_runs = minute_runs - CASE WHEN minute = %(minute)s THEN %(given_back)s ELSE 0 END,
        hour_runs = hour_runs - CASE WHEN hour = %(hour)s THEN %(given_back)s ELSE 0 END
    WHERE key_id = %(key)s AND user_id = ANY(%(counted)s) AND day = %(day)s
"""
REFUSE = """
    INSERT INTO audit_usage AS kept (
        key_id, user_id, day, runs, minute, minute_runs, hour, hour_runs, cpu_ms, refused
    )
    SELECT
        %(key)s, holder, %(day)s, 0, %(minute)s, 0, %(hour)s, 0, 0,
        jsonb_build_object(%(quota)s::text, 1)
    FROM unnest(%(counted)s::text[]) AS holder
    ON CONFLICT (key_id, user_id, day) DO UPDATE SET refused = kept.refused || jsonb_build_object(
        %(quota)s::text, COALESCE((kept.refused ->> %(quota)s)::bigint, 0) + 1
    )
"""


@dataclass(frozen=True, slots=True)
class InForce:
    quota: Quota
    most: int


def in_force(key: APIKey, user_id: str, quotas: tuple[Quota, ...]) -> list[InForce]:
    """Asked by each request."""
    credential = key.credential
    return [
        InForce(quota, most)
        for quota in quotas
        if (most := quota.in_force(credential)) and (user_id or quota.holder == Holder.KEY)
    ]


def description(quota: Quota, most: int) -> str:
    return f"The quota of this {quota.holder} is used up: {most} {quota.label}"


@contextmanager
def counted(execution: Execution, user_of_session: Callable[[], str]) -> Iterator[None]:
    """Count a run that is about to begin and what it uses, or refuse it with `QuotaExceeded`.

    One that tells no user is its session's, whom only the database knows; it is asked where users
    have quotas."""
    key, user_id = execution.key, execution.user_id
    if not user_id and in_force(key, ANYBODY, OF_RUNS_OF_USERS):
        user_id = user_of_session()
    quotas = in_force(key, user_id, OF_RUNS)
    if not quotas:
        yield
        return
    now = timezone.now()
    windows = Windows.at(now)
    values: dict[str, Any] = {
        "lock": KEY_LOCK,
        "key": key.pk,
        "execution": execution.pk,
        "counted": counted_for(user_id),
        "minute": windows.minute,
        "hour": windows.hour,
        "day": windows.day.date(),
    }
    _admit(quotas, user_id, values, windows, now)
    given_back = 0
    try:
        yield
    except (AtCapacity, EngineUnavailable):
        # It was for our sake that it did not run.
        given_back = 1
        raise
    finally:
        _settle(values | {"cpu_ms": execution.cpu_ms or 0, "given_back": given_back})


def _admit(
    quotas: list[InForce], user_id: str, values: dict[str, Any], windows: Windows, now: datetime
) -> None:
    rows = [(one.quota, one.most) for one in quotas]
    exceeded = ask(
        ADMIT,
        values
        | {
            "names": [quota.name for quota, _ in rows],
            "measures": [quota.measure.value for quota, _ in rows],
            "holders": [user_id if quota.holder == Holder.USER else "" for quota, _ in rows],
            "most": [most for _, most in rows],
            "ends": [windows.end_of(quota.measure, now) for quota, _ in rows],
            "user": user_id,
            "now": now,
            "places_since": now - PLACE,
        },
    )
    if exceeded:
        name, most, ends_at = exceeded
        message = description(QUOTA_BY_NAME[name], most)
        wait = (ends_at - now).total_seconds()
        raise QuotaExceeded(message, retry_after_seconds=wait)


def _settle(values: dict[str, Any]) -> None:
    """With the database away the run's answer, or its error, counts more; and its place is free as
    soon as its row says that it has ended."""
    try:
        replace_broken_connection()
        ask(SETTLE, values)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("what run %s has used is not counted: %s", values["execution"], error)


def note_refusal(key: APIKey, user_id: str, quota: str) -> None:
    """Of what is no run: with the key's use of the day, and the user's."""
    windows = Windows.at(timezone.now())
    ask(
        REFUSE,
        {
            "lock": KEY_LOCK,
            "key": key.pk,
            "counted": counted_for(user_id),
            "minute": windows.minute,
            "hour": windows.hour,
            "day": windows.day.date(),
            "quota": quota,
        },
    )


def counted_for(user_id: str) -> list[str]:
    """For both, whichever of them has the quota."""
    return ["", user_id] if user_id else [""]


def ask(statement: str, values: dict[str, Any]) -> tuple[Any, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute(LOCKED + statement, values)
        # Past the answers of what comes before it.
        cursor.nextset()
        cursor.nextset()
        found: tuple[Any, ...] | None = cursor.fetchone() if cursor.description else None
        return found


def sweep() -> int:
    """Forget old days, and what dead workers had reserved."""
    now = timezone.now()
    old, _ = Usage.objects.filter(day__lt=(now - timedelta(days=DAYS_KEPT)).date()).delete()
    running = Execution.objects.running().values("pk")
    Reservation.objects.filter(~Q(pk__in=running), created_at__lt=now - PLACE).delete()
    return old
