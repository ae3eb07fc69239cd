"""Whether this server, the database and the engine's host agree about the time."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.conf import settings
from django.db import connection

from sandbox.findings import Finding, fail, ok, warn

NOTABLE_SECONDS = 2.0


def check_database() -> Finding:
    def ask() -> float:
        with connection.cursor() as cursor:
            cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
            return float(cursor.fetchone()[0])

    return judge("clock.database", "the database's", apart(ask))


def apart(ask: Callable[[], float]) -> float:
    """How far the clock that is asked goes ahead of ours; the time that the question takes is
    nobody's fault."""
    before = time.time()
    theirs = ask()
    after = time.time()
    if before <= theirs <= after:
        return 0.0
    return theirs - after if theirs > after else theirs - before


def judge(check: str, whose: str, seconds: float) -> Finding:
    text = f"{whose} clock and this server's are {abs(seconds):.1f} s apart"
    advice = "Set the clocks by NTP: sessions, leases and tokens end by them."
    if abs(seconds) > settings.CODEAPI_JWT_CLOCK_SKEW_SECONDS:
        return fail(check, text, advice)
    if abs(seconds) > NOTABLE_SECONDS:
        return warn(check, text, advice)
    return ok(check, text)
