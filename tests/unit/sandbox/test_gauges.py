"""What is asked of the database again and again does not read all rows that there ever were."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.db.models import Count, Q, QuerySet, Sum
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import SandboxFile, SandboxSession
from sandbox import gauges, store_keeper
from sandbox.gauges import Shared
from sandbox.services import Caller

pytestmark = pytest.mark.django_db

ROWS, LIVE, EXPIRED = 20_000, 20, 11


@pytest.fixture
def many(alice: Caller) -> None:
    """Sessions of a long time with a file each, nearly all of which have ended."""
    now = timezone.now()
    values: dict[str, Any] = {"key": alice.key.pk, "now": now, "rows": ROWS, "live": LIVE}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO audit_sandboxsession (id, key_id, origin, user_id, entity_id, kind,
                resource_id, hint, created_at, last_used_at, expires_at, ended_at, has_files,
                lease_token)
            SELECT 's' || n, %(key)s, 'run', '', '', '', '', '', %(now)s, %(now)s,
                %(now)s - n * interval '1 minute' + interval '10 minutes',
                CASE WHEN n > %(live)s THEN %(now)s - n * interval '1 minute' END, true, ''
            FROM generate_series(1, %(rows)s) AS n
            """,
            values,
        )
        cursor.execute(
            """
            INSERT INTO audit_sandboxfile (id, session_id, name, size, sha256, content_type,
                read_only, executable, created_at, superseded_at, deleted_at)
            SELECT 'f' || n, 's' || n, 'a', 1, '', '', false, false, %(now)s,
                CASE WHEN n %% 2 = 0 THEN %(now)s - interval '1 minute' END,
                CASE WHEN n > %(live)s THEN %(now)s END
            FROM generate_series(1, %(rows)s) AS n
            """,
            values,
        )
        cursor.execute("ANALYZE audit_sandboxsession, audit_sandboxfile")


def plan_of(statement: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + statement)
        return "\n".join(line for (line,) in cursor.fetchall())


def asked(query: QuerySet[Any]) -> str:
    return query.order_by().explain()


def test_what_is_kept_is_looked_up_in_an_index(many: None) -> None:
    plans = [
        plan_of(gauges.ASK_STORED),
        # The dashboard's tile.
        asked(
            SandboxFile.objects.filter(deleted_at=None)
            .values("deleted_at")
            .annotate(Sum("size"), Count("pk"))
        ),
    ]
    with CaptureQueriesContext(connection) as queries:
        store_keeper.delete_files_of_ended()
        store_keeper.expire_versions()
    selects = [each["sql"] for each in queries if each["sql"].startswith("SELECT")]
    assert len(selects) == 2
    plans += [plan_of(sql) for sql in selects]
    for plan in plans:
        assert "file_kept" in plan, plan
        assert "Seq Scan on audit_sandboxfile" not in plan, plan
        assert "Seq Scan on audit_sandboxsession" not in plan, plan


def test_sessions_that_go_on_are_looked_up_in_an_index(many: None) -> None:
    plan = plan_of(gauges.ASK)
    assert "session_expiry" in plan, plan
    expired = SandboxSession.objects.filter(Q()).expired().unleased().order_by()
    assert "session_expiry" in expired.explain()
    assert expired.count() == EXPIRED


def test_a_question_that_takes_too_long_is_not_asked_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gauges, "ASK_STORED", "SELECT 1 / 0")
    shared = Shared()
    with connection.cursor() as cursor:
        with pytest.raises(DatabaseError):
            shared._ask_stored(cursor)
        assert shared._ask_stored(cursor) is None
