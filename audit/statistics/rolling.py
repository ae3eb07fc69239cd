"""The keeper's part: to count the hours that are over once and for all."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from audit.statistics.facets import FACETS, live_durations
from audit.statistics.hours import HOUR, floor, origin
from audit.statistics.spans import joined, within

# The longest period that is asked for, in any time zone, and some more.
KEPT = timedelta(days=33)
# So long after its end an hour gets no executions any more, or a trigger says that it did. The
# migration has the same number.
GRACE = timedelta(minutes=10)
# Any number; the triggers have the same.
LOCK = 7_245_002
# Hours at a time, so that the keeper soon comes back to its other work.
BATCH = 24

CLAIM = """
    INSERT INTO audit_rolleduphour (hour)
    SELECT hour FROM generate_series(%(first)s, %(last)s, interval '1 hour') AS hour
    WHERE NOT EXISTS (SELECT FROM audit_rolleduphour WHERE audit_rolleduphour.hour = hour.hour)
    AND NOT EXISTS (
        SELECT FROM audit_execution WHERE status = 'running'
        AND created_at >= hour.hour AND created_at < hour.hour + interval '1 hour'
    )
    ORDER BY hour DESC LIMIT %(batch)s RETURNING hour
"""
COUNT = """
    INSERT INTO audit_hourlycount (facet, hour, value, key_id, runs)
    SELECT '{facet}', counted.* FROM ({live}) AS counted
"""
# Of each key, and of all together.
DURATIONS = """
    INSERT INTO audit_hourlydurations (hour, key_id, buckets, runs)
    SELECT hour, key_id, array_agg(bucket ORDER BY bucket), array_agg(runs ORDER BY bucket) FROM (
        SELECT hour, key_id, bucket, sum(runs)::int AS runs FROM ({live}) AS counted
        GROUP BY GROUPING SETS ((hour, key_id, bucket), (hour, bucket))
    ) AS histogram GROUP BY hour, key_id
"""
FORGET = """
    DELETE FROM {table} WHERE hour < %(oldest)s
    OR date_bin(interval '1 hour', hour, %(origin)s) <> hour
"""
TABLES = ("audit_rolleduphour", "audit_hourlycount", "audit_hourlydurations")


def roll_up(*, batch: int = BATCH, now: datetime | None = None) -> int:
    """Count hours that are over, the latest first, and forget old ones; how many it counted. None
    while another keeper counts, or somebody deletes executions: the next pass is soon."""
    now = now or timezone.now()
    since = origin(now)
    first = floor(now - KEPT, HOUR, since)
    bounds: dict[str, Any] = {
        "first": first,
        "last": floor(now - GRACE, HOUR, since) - HOUR,
        "batch": batch,
    }
    counting: dict[str, Any] = {"origin": since, "width": HOUR}
    with transaction.atomic(), connection.cursor() as cursor:
        # The statements after it see what whoever had the lock has deleted.
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return 0
        forget(first, since)
        cursor.execute(CLAIM, bounds)
        hours = sorted(hour for (hour,) in cursor.fetchall())
        if hours:
            where = within("created_at", tuple(joined((hour, hour + HOUR) for hour in hours)))
            for facet in FACETS:
                statement = COUNT.format(facet=facet.name, live=facet.live(where))
                cursor.execute(statement, counting)
            cursor.execute(DURATIONS.format(live=live_durations(where)), counting)
        return len(hours)


def forget(oldest: datetime, since: datetime) -> None:
    """What nobody asks for any more, and what was counted when the server had another time zone."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM audit_rolleduphour WHERE hour < %(oldest)s"
            " OR date_bin(interval '1 hour', hour, %(origin)s) <> hour)",
            {"oldest": oldest, "origin": since},
        )
        if cursor.fetchone()[0]:
            for table in TABLES:
                cursor.execute(FORGET.format(table=table), {"oldest": oldest, "origin": since})
