"""Which session a run belongs to, and its turn in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone

from audit.models import SandboxSession
from audit.models.session import LEASE
from sandbox.database import give_back_connection
from sandbox.errors import AtCapacity, LeaseLost
from sandbox.services.requests import NO_SCOPE, Caller, RunRequest, Scope

POLL_SECONDS = 0.02
RENEW_SECONDS = LEASE.total_seconds() / 4


def session_lifetime() -> timedelta:
    return timedelta(hours=settings.SANDBOX_SESSION_HOURS)


def keep_alive(session_ids: Iterable[str]) -> int:
    """Have sessions live on from now, also while a run waits and works; how many still did."""
    now = timezone.now()
    return (
        SandboxSession.objects.live()
        .filter(pk__in=session_ids)
        .update(
            last_used_at=now,
            expires_at=Greatest(F("expires_at"), now + session_lifetime()),
        )
    )


def session_for_run(caller: Caller, request: RunRequest) -> SandboxSession:
    if request.hint:
        return _hinted(caller, request.hint)
    if request.session_id and not request.files:
        session = _continued(caller, request.session_id)
        if session:
            return session
    return _create(caller)


def new(
    caller: Caller, *, origin: SandboxSession.Origin, hint: str = "", scope: Scope = NO_SCOPE
) -> SandboxSession:
    """Not saved yet."""
    return SandboxSession(
        key=caller.key,
        origin=origin,
        user_id=caller.user_id,
        entity_id=caller.entity_id,
        kind=scope.kind,
        resource_id=scope.resource_id,
        version=scope.version,
        hint=hint,
        expires_at=timezone.now() + session_lifetime(),
    )


def _create(caller: Caller, *, hint: str = "") -> SandboxSession:
    session = new(caller, origin=SandboxSession.Origin.RUN, hint=hint)
    session.save(force_insert=True)
    return session


def _continued(caller: Caller, session_id: str) -> SandboxSession | None:
    """Only a run's session: an upload's may be shared by all users of a skill or an agent."""
    session = (
        SandboxSession.objects.live()
        .filter(pk=session_id, key=caller.key, origin=SandboxSession.Origin.RUN)
        .first()
    )
    if session and caller.user_id and session.user_id not in ("", caller.user_id):
        return None
    return session if session and keep_alive([session.pk]) else None


def _hinted(caller: Caller, hint: str) -> SandboxSession:
    mine = SandboxSession.objects.filter(
        key=caller.key, user_id=caller.user_id, hint=hint, ended_at=None
    )
    found = mine.first()
    if found and keep_alive([found.pk]):
        return found
    # One that has expired but is not reaped yet would still hold the hint.
    mine.expired().update(ended_at=timezone.now())
    try:
        return _create(caller, hint=hint)
    except IntegrityError:
        # Another worker created it first; the constraint is the lock.
        return mine.get()


@dataclass(slots=True)
class Lease:
    """One run's hold on its session."""

    session: SandboxSession
    token: str
    _renewed: float = field(default_factory=time.monotonic)
    _ended: bool = False

    def renew(self) -> None:
        """Called often; writes only when it is time. A database that is away for a moment does
        not end the run: the lease lives on for as long as it was granted."""
        age = time.monotonic() - self._renewed
        if age < RENEW_SECONDS:
            return
        try:
            held = self.session.renew_lease(self.token)
        except DatabaseError as error:
            if age > LEASE.total_seconds():
                raise LeaseLost("The database was away for too long") from error
            return
        finally:
            give_back_connection()
        if not held:
            raise LeaseLost("Another worker took the session over")
        self._renewed = time.monotonic()

    def end(self) -> None:
        """Give the session back. In a transaction, this is what lets only its holder commit."""
        if self._ended:
            return
        if not self.session.release(self.token):
            raise LeaseLost("Another worker took the session over")
        # Only then: a transaction that fails has not given it back.
        transaction.on_commit(self._note_end)

    def _note_end(self) -> None:
        self._ended = True


@contextmanager
def leased(
    session: SandboxSession, *, deadline: float, abandoned: Callable[[], bool]
) -> Iterator[Lease]:
    """Wait for the session's turn and hold it. The runs of a session never overlap."""
    while (token := session.lease()) is None:
        if time.monotonic() > deadline or abandoned():
            raise AtCapacity("The session's earlier runs are still going on")
        time.sleep(POLL_SECONDS)
    lease = Lease(session, token)
    try:
        yield lease
    finally:
        # With the database away, or the session taken over, it expires by itself.
        with suppress(DatabaseError, LeaseLost):
            lease.end()
