"""Who of the workers has died: see `audit.presence`."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from django.db import connection
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
# After a restart of Postgres nobody has a lock yet.
UP = "SELECT extract(epoch FROM now() - pg_postmaster_start_time())::float"


@dataclass(slots=True)
class Census:
    """Kept by a process that looks again and again."""

    # A worker whose connection was cut has a new one within a second or so.
    absence_seconds: float = 3.0
    settled_seconds: float = LEASE.total_seconds()
    # Since when each is missing, by the monotonic clock.
    missing: dict[str, float] = field(default_factory=dict)

    def end_leases_of_dead(self) -> int:
        """End the leases of workers that are missing for too long; how many it was."""
        with connection.cursor() as cursor:
            cursor.execute(UP)
            [up_seconds] = cursor.fetchone()
            # Before the locks: whoever has a lease had announced itself when it took it.
            cursor.execute(LEASED, {"mark": MARK})
            leased = {session: token[:8] for session, token in cursor.fetchall()}
            cursor.execute(ALIVE, {"locks": LOCKS})
            alive = {f"{number:08x}" for (number,) in cursor.fetchall()}
        now = time.monotonic()
        absent = set(leased.values()) - alive
        self.missing = {worker: self.missing.get(worker, now) for worker in absent}
        if up_seconds < self.settled_seconds:
            return 0
        dead = [one for one, at in self.missing.items() if now - at >= self.absence_seconds]
        return sum(self._end_leases(leased, worker) for worker in dead)

    def _end_leases(self, leased: dict[str, str], worker: str) -> int:
        sessions = [session for session, of in leased.items() if of == worker]
        held = SandboxSession.objects.filter(pk__in=sessions, lease_token__startswith=worker + MARK)
        ended = held.update(lease_expires_at=timezone.now())
        logger.warning("ended %s leases of a worker that has died", ended)
        return ended
