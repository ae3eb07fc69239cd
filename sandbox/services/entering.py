"""How a run begins: in its session, which it continues or makes, and mostly with a container.

Where one is at hand, the session's own or a warm one for a new session, a single statement leases
the session, claims the container and writes the run's row; the engine has not been asked yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from django.db import IntegrityError
from django.utils import timezone

from audit.models import Execution, SandboxContainer, SandboxSession
from audit.models.session import CONTINUED, HINTED, LEASE, TAKE
from audit.presence import new_token
from keys import rows
from keys.statements import ask
from sandbox import pool
from sandbox.claiming import OWN, WARM, Claim, Source
from sandbox.database import UNACKNOWLEDGED
from sandbox.services.requests import Caller, RunRequest
from sandbox.services.sessions import Lease, keep_alive, new, session_lifetime


@dataclass(frozen=True, slots=True)
class Entered:
    """Without a lease, another run still has the session. Without a claim, the run is not written
    down yet."""

    session: SandboxSession
    lease: Lease | None = None
    claim: Claim | None = None


# Where a call does not tell the user, a run is its session's.
USER = "COALESCE(NULLIF(%(execution_user_id)s, ''), taken.user_id)"


@cache
def continuing(which: str) -> str:
    """The container of a session whose last run ended just now may not be seen by the statement
    that leases the session; claiming looks again."""
    return f"""
        WITH taken AS ({TAKE.format(which=which)}), own AS (
            UPDATE audit_sandboxcontainer SET state = 'leased', last_used_at = now()
            WHERE session_id = (SELECT id FROM taken) AND {OWN} RETURNING *
        ), noted AS (
            {rows.insertion(Execution, session_id="taken.id", container_id="own.id", user_id=USER)}
            FROM taken, own
        )
        SELECT
            {rows.selected(SandboxSession, "taken")}, {rows.selected(SandboxContainer, "own")},
            {UNACKNOWLEDGED}
        FROM taken LEFT JOIN own ON true
    """  # noqa: S608 - of constants


@cache
def creating() -> str:
    return f"""
        WITH made AS ({rows.insertion(SandboxSession)}), warm AS (
            UPDATE audit_sandboxcontainer
            SET state = 'leased', session_id = %(execution_session_id)s, last_used_at = now()
            WHERE id = ({WARM.format(since="now()")}) RETURNING *
        ), noted AS (
            {rows.insertion(Execution, container_id="warm.id")} FROM warm
        )
        SELECT
            {rows.selected(SandboxContainer, "warm")}, pg_notify(%(channel)s, ''),
            {UNACKNOWLEDGED}
        FROM warm
    """  # noqa: S608 - of constants


def continues(request: RunRequest) -> bool:
    return bool(request.session_id) and not request.files and not request.hint


def user_of_session(caller: Caller, request: RunRequest) -> str:
    """Whose the session is that the run of a caller who tells no user will go on in."""
    if not continues(request):
        return ""
    found = SandboxSession.objects.live().filter(
        pk=request.session_id, key=caller.key, origin=SandboxSession.Origin.RUN
    )
    return found.values_list("user_id", flat=True).first() or ""


def enter(caller: Caller, request: RunRequest, execution: Execution) -> Entered:
    if request.hint:
        return _hinted(caller, request.hint, execution)
    if continues(request):
        entered = _continued(caller, request.session_id, execution)
        if entered:
            return entered
    return _create(caller, execution)


def _create(caller: Caller, execution: Execution, *, hint: str = "") -> Entered:
    session = new(caller, origin=SandboxSession.Origin.RUN, hint=hint)
    session.has_files = False
    if not hint:
        # With a hint the next run, perhaps without files, must find it again.
        session.user_id = caller.noted_user
    session.lease_token = new_token()
    session.lease_expires_at = timezone.now() + LEASE
    _expect(execution, session.lease_token, Source.POOL)
    execution.session_id = session.pk
    values = {**rows.parameters(session), **rows.parameters(execution), "channel": pool.CHANNEL}
    found = _ask(creating(), values, caller)
    rows.mark_as_inserted(session)
    execution.session = session
    claim = _noted(execution, Source.POOL, found[:-2] if found else None)
    return Entered(session, Lease(session, is_first=True), claim)


def _continued(caller: Caller, session_id: str, execution: Execution) -> Entered | None:
    entered = _take(CONTINUED, caller, execution, id=session_id)
    if entered:
        return entered
    session = (
        SandboxSession.objects.live()
        .filter(pk=session_id, key=caller.key, origin=SandboxSession.Origin.RUN)
        .first()
    )
    if session and caller.user_id and session.user_id not in ("", caller.user_id):
        return None
    return Entered(session) if session and keep_alive([session.pk]) else None


def _hinted(caller: Caller, hint: str, execution: Execution) -> Entered:
    entered = _take(HINTED, caller, execution, hint=hint)
    if entered:
        return entered
    mine = SandboxSession.objects.filter(
        key=caller.key, user_id=caller.user_id, hint=hint, ended_at=None
    )
    found = mine.first()
    if found and keep_alive([found.pk]):
        return Entered(found)
    # One that has expired but is not reaped yet would still hold the hint.
    mine.expired().update(ended_at=timezone.now())
    try:
        return _create(caller, execution, hint=hint)
    except IntegrityError:
        # Another worker created it first; the constraint is the lock.
        return Entered(mine.get())


def _take(which: str, caller: Caller, execution: Execution, **named: str) -> Entered | None:
    lease = SandboxSession.objects.lease_until(timezone.now() + session_lifetime())
    _expect(execution, lease["token"], Source.SESSION)
    values = {**lease, **named, "key": caller.key.pk, "user": caller.user_id}
    found = _ask(continuing(which), values | rows.parameters(execution), caller)
    if found is None:
        return None
    width = len(SandboxSession._meta.concrete_fields)
    session = rows.instance(SandboxSession, found[:width])
    execution.session = session
    execution.user_id = execution.user_id or session.user_id
    own = found[width:-1]
    claim = _noted(execution, Source.SESSION, own if own[0] else None)
    return Entered(session, Lease(session), claim)


def _expect(execution: Execution, token: str, source: Source) -> None:
    execution.lease_token, execution.container_source = token, source


def _noted(execution: Execution, source: Source, found: tuple[Any, ...] | None) -> Claim | None:
    if found is None:
        execution.container_source = ""
        return None
    execution.container = rows.instance(SandboxContainer, found)
    rows.mark_as_inserted(execution)
    return Claim(execution.container, source)


def _ask(statement: str, values: dict[str, Any], caller: Caller) -> tuple[Any, ...] | None:
    return ask(statement, values | pool.of_use(caller.key))
