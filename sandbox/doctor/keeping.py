"""The keeper: is there one, and is the pool full."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db import connection

from audit.models import SandboxContainer
from sandbox import pool
from sandbox.findings import Finding, fail, ok, warn
from sandbox.keeper import APPLICATION

# Between two passes it waits for five seconds at the most; one that starts containers on a busy
# machine can take longer.
PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.2
LAST_ASKED = """
    SELECT now(), (
        SELECT max(state_change) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = %s
    )
"""


def check(patience: float = PATIENCE_SECONDS) -> Iterator[Finding]:
    last = _last_pass(patience)
    if last is None:
        yield fail(
            "keeper.alive",
            "no keeper is at work",
            "Start manage.py keeper: without it nothing expires, and each new session waits for "
            "its container. Through a pooler such as PgBouncer it cannot be seen from here.",
        )
    else:
        yield ok("keeper.alive", f"it was at work at {last:%Y-%m-%d %H:%M:%S} UTC")
    for name, size in pool.sizes().items():
        yield _check_pool(name, size)


def _last_pass(patience: float) -> datetime | None:
    """When it last asked the database for something, which tells that of each connection. Each pass
    does, and one that hangs does not."""
    deadline = time.monotonic() + patience
    while True:
        with connection.cursor() as cursor:
            cursor.execute(LAST_ASKED, [APPLICATION])
            now, last = cursor.fetchone()
        if last and last > now - timedelta(seconds=PATIENCE_SECONDS):
            at: datetime = last
            return at
        if time.monotonic() > deadline:
            return None
        time.sleep(LOOK_SECONDS)


def _check_pool(name: str, size: int) -> Finding:
    check = f"pool.{name}"
    waiting = SandboxContainer.objects.warm().filter(**pool.of_use(None, name)).count()
    text = f"{waiting} of {size} containers wait"
    if waiting < size:
        advice = "In use this comes and goes; when nobody runs anything, see the keeper's log."
        return warn(check, text, advice)
    return ok(check, text)
