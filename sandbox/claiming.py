"""How a run gets its container: one conditional statement for each way, and a line to wait in.

Workers race by conditional updates; whoever changes the row owns the container. A container never
passes from one owner, that is a key and a user, to another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.conf import settings

from audit.models import Execution, SandboxContainer, SandboxSession
from sandbox import pool
from sandbox.errors import AtCapacity, LeaseLost
from sandbox.wire import nothing

Source = Execution.Source
State = SandboxContainer.State

POLL_SECONDS = 0.05

ENDED = "The run was taken for a dead worker's"

# Nobody who found no room before this run did still waits for some: `Execution.ahead_of`.
FIRST_IN_LINE = """
    NOT EXISTS (
        SELECT FROM audit_execution ahead
        JOIN audit_sandboxsession waiting ON waiting.id = ahead.session_id
        WHERE ahead.status = 'running' AND ahead.container_id IS NULL
        AND ahead.queued_at < {since}
        AND waiting.lease_token = ahead.lease_token AND waiting.lease_expires_at > now()
    )
"""
# As `pool.of_use` has it.
OWN = "state = 'idle' AND image = %(image)s AND limits = %(limits)s"
CLAIM_OWN = f"""
    UPDATE audit_sandboxcontainer SET state = 'leased', last_used_at = now()
    WHERE session_id = %(session)s AND {OWN} RETURNING *
"""  # noqa: S608 - of constants
# The hot ones first, the oldest of these first; skips what another worker is just claiming.
WARM = f"""
    SELECT id FROM audit_sandboxcontainer WHERE state = 'warm' AND image = %(image)s
    AND limits = %(limits)s AND {FIRST_IN_LINE}
    ORDER BY hot DESC, ready_at LIMIT 1 FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - of constants
SINCE = "COALESCE(%(since)s, now())"
# Wakes the keeper.
CLAIM_WARM = f"""
    UPDATE audit_sandboxcontainer
    SET state = 'leased', session_id = %(session)s, last_used_at = now()
    WHERE id = ({WARM.format(since=SINCE)}) RETURNING *, pg_notify(%(channel)s, '')
"""  # noqa: S608 - of constants
# Not from a session whose next run has begun: that is about to claim it.
CLAIM_RECYCLED = f"""
    UPDATE audit_sandboxcontainer
    SET state = 'leased', session_id = %(session)s, manifest = '{{}}', last_used_at = now()
    WHERE id = (
        SELECT container.id FROM audit_sandboxcontainer container
        JOIN audit_sandboxsession former ON former.id = container.session_id
        WHERE container.state = 'idle' AND container.image = %(image)s
        AND container.limits = %(limits)s AND former.key_id = %(key)s AND former.user_id = %(user)s
        AND (former.lease_expires_at IS NULL OR former.lease_expires_at <= now())
        AND {FIRST_IN_LINE.format(since=SINCE)}
        ORDER BY container.last_used_at LIMIT 1 FOR UPDATE OF container SKIP LOCKED
    ) RETURNING *
"""  # noqa: S608 - of constants


def never() -> bool:
    return False


def ignore(step: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Claim:
    container: SandboxContainer
    source: Source


@dataclass(frozen=True, slots=True)
class Wait:
    """How a run waits for its turn and for a container: until `deadline`, in `time.monotonic()`
    seconds, or until it is `abandoned`; `heartbeat` is called all the while."""

    deadline: float
    heartbeat: Callable[[], None] = nothing
    abandoned: Callable[[], bool] = never

    def is_over(self) -> bool:
        return time.monotonic() > self.deadline or self.abandoned()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claiming:
    """One run's claims. It must hold the lease on its session."""

    execution: Execution
    wait: Wait
    # Of a session that this run is the first of: it has no container of its own to look for.
    is_first: bool = False
    lap: Callable[[str], None] = ignore

    def claim(self, *, rather_new: bool = False) -> Claim:
        """A container for the run, as its row says from then on: its session's own, a warm one, a
        recycled or a new one. Runs that find no room wait in line."""
        execution = self.execution
        own = None if self.is_first else self._own()
        if own:
            return self._assign(own, Source.SESSION)
        while True:
            for find, source in self._ways(rather_new):
                container = find()
                if container:
                    return self._assign(container, source)
            if execution.queued_at is None or execution.container:
                if not execution.queue():
                    raise LeaseLost(ENDED)
                self.lap("claim")
            if self.wait.is_over():
                raise AtCapacity("All sandbox containers are busy")
            self.wait.heartbeat()
            time.sleep(POLL_SECONDS)

    def _ways(
        self, rather_new: bool
    ) -> Iterator[tuple[Callable[[], SandboxContainer | None], Source]]:
        if rather_new:
            yield self._new, Source.CREATED
        yield self._warm, Source.POOL
        if settings.SANDBOX_RECYCLE:
            yield self._recycled, Source.RECYCLED
        if not rather_new:
            yield self._new, Source.CREATED

    def _assign(self, container: SandboxContainer, source: Source) -> Claim:
        """Before the engine is asked; and those behind it in line need not wait any longer."""
        self.lap("queue" if self.execution.queued_at else "claim")
        try:
            if not self.execution.assign(container, source):
                raise LeaseLost(ENDED)
        except BaseException:
            pool.discard(container, "its run could not be noted")
            raise
        self.lap("audit")
        if source == Source.CREATED:
            pool.start(container, self.execution.key, self.wait.heartbeat)
            self.lap("start")
        return Claim(container, source)

    def _own(self) -> SandboxContainer | None:
        session = self._session
        own = self._claimed(CLAIM_OWN, session=session.pk)
        if own is None:
            states = [State.IDLE, State.LEASED]
            for other in SandboxContainer.objects.filter(session=session, state__in=states):
                # We hold the session's lease, so whoever leased it is gone without a word.
                was_left = other.state == State.LEASED
                pool.discard(other, pool.LEFT_BEHIND if was_left else pool.OUTDATED)
        return own

    def _warm(self) -> SandboxContainer | None:
        since = self.execution.queued_at
        return self._claimed(
            CLAIM_WARM, session=self._session.pk, since=since, channel=pool.CHANNEL
        )

    def _recycled(self) -> SandboxContainer | None:
        session = self._session
        return self._claimed(
            CLAIM_RECYCLED,
            session=session.pk,
            key=session.key_id,
            user=session.user_id,
            since=self.execution.queued_at,
        )

    def _new(self) -> SandboxContainer | None:
        if Execution.objects.ahead_of(self.execution).exists():
            return None
        key = self.execution.key
        reserved = pool.reserve(session=self._session, key=key)
        if reserved is None and pool.evict_one("evicted for another session"):
            reserved = pool.reserve(session=self._session, key=key)
        return reserved

    @property
    def _session(self) -> SandboxSession:
        return self.execution.session

    def _claimed(self, statement: str, **values: object) -> SandboxContainer | None:
        of_use = pool.of_use(self.execution.key)
        return next(iter(SandboxContainer.objects.raw(statement, values | of_use)), None)
