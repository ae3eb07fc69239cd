"""Who of the workers has died: see `audit.presence`."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import Error, connection
from django.utils import timezone

from audit.models import SandboxSession
from audit.models.session import LEASE
from audit.presence import LOCKS, MARK

logger = logging.getLogger(__name__)

ALIVE = """
    SELECT objid::bigint FROM pg_locks
    WHERE locktype = 'advisory' AND classid = %(locks)s AND objsubid = 2 AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
# Of runs and of their containers, which are few; sessions are many.
LEASED = """
    SELECT DISTINCT session.id, session.lease_token FROM audit_sandboxsession session
    JOIN (
        SELECT session_id FROM audit_execution WHERE status = 'running'
        UNION SELECT session_id FROM audit_sandboxcontainer WHERE state = 'leased'
    ) used ON used.session_id = session.id
    WHERE session.lease_expires_at > now() AND substr(session.lease_token, 9, 1) = %(mark)s
"""
SERVER = "SELECT pg_postmaster_start_time()"


@dataclass(slots=True)
class Census:
    """Kept by a process that looks again and again."""

    # A worker whose connection was cut has a new one within a second or so.
    absence_seconds: float = 3.0
    # After a restart of Postgres nobody has a lock yet; nor has anybody on a standby that was
    # promoted, however long that has been up. A worker may need longer than we do to see that its
    # connection leads nowhere.
    settled_seconds: float = LEASE.total_seconds()
    # Since when each is missing, by the monotonic clock.
    missing: dict[str, float] = field(default_factory=dict)
    # The connection and the server behind it of the last look, if that has worked.
    _seen: tuple[Any, ...] | None = None
    _settled_at: float = float("inf")
    _is_settled: bool = False

    def end_leases_of_dead(self) -> int:
        """End the leases of workers that are missing for too long; how many it was."""
        try:
            leased, alive, server = self._look()
        except Error:
            self._seen = None
            raise
        now = time.monotonic()
        seen = (connection.connection, server)
        if seen != self._seen:
            self._seen, self._settled_at = seen, now + self.settled_seconds
            self._is_settled = False
        absent = set(leased.values()) - alive
        self.missing = {worker: self.missing.get(worker, now) for worker in absent}
        if now < self._settled_at:
            return 0
        if not self._is_settled:
            self._is_settled = True
            logger.info("who is missing from now on has died")
        dead = [one for one, at in self.missing.items() if now - at >= self.absence_seconds]
        return sum(self._end_leases(leased, worker) for worker in dead)

    def _look(self) -> tuple[dict[str, str], set[str], datetime]:
        """The worker of each session that is leased, the workers that are alive, and since when
        the server is."""
        with connection.cursor() as cursor:
            cursor.execute(SERVER)
            [server] = cursor.fetchone()
            # Before the locks: whoever has a lease had announced itself when it took it.
            cursor.execute(LEASED, {"mark": MARK})
            leased = {session: token[:8] for session, token in cursor.fetchall()}
            cursor.execute(ALIVE, {"locks": LOCKS})
            alive = {f"{number:08x}" for (number,) in cursor.fetchall()}
        return leased, alive, server

    def _end_leases(self, leased: dict[str, str], worker: str) -> int:
        sessions = [session for session, of in leased.items() if of == worker]
        held = SandboxSession.objects.filter(pk__in=sessions, lease_token__startswith=worker + MARK)
        ended = held.update(lease_expires_at=timezone.now())
        logger.warning("ended %s leases of a worker that has died", ended)
        return ended
