"""A run's hold on its session, and its turn in it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone

from audit.models import SandboxSession
from audit.models.session import LEASE
from sandbox.claiming import Wait
from sandbox.database import give_back_connection
from sandbox.errors import AtCapacity, LeaseLost
from sandbox.services.requests import NO_SCOPE, Caller, Scope

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


@dataclass(slots=True)
class Lease:
    """One run's hold on its session."""

    session: SandboxSession
    # Of a session that this run has made: nothing can be there yet, neither files nor a container.
    is_first: bool = False
    _renewed: float = field(default_factory=time.monotonic)
    _ended: bool = False

    @property
    def token(self) -> str:
        return self.session.lease_token

    def renew(self) -> None:
        """Called about every second; writes only when it is time. A database that is away for a
        moment does not end the run: the lease lives on for as long as it was granted."""
        give_back_connection()
        self.keep_up()

    def keep_up(self) -> None:
        """The same, in the midst of work with the database."""
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
        self.note_end()

    def note_end(self) -> None:
        """It was given back, unless the transaction fails."""
        transaction.on_commit(self._note_end)

    def _note_end(self) -> None:
        self._ended = True


def wait_for_turn(session: SandboxSession, wait: Wait) -> Lease:
    """The runs of a session never overlap."""
    while True:
        expires_at = timezone.now() + session_lifetime()
        taken = SandboxSession.objects.take(session.pk, expires_at=expires_at)
        if taken:
            return Lease(taken)
        if wait.is_over():
            raise AtCapacity("The session's earlier runs are still going on")
        time.sleep(POLL_SECONDS)


@contextmanager
def ending(lease: Lease) -> Iterator[None]:
    """Whatever happens, the session is given back."""
    try:
        yield
    finally:
        # With the database away, or the session taken over, it expires by itself.
        with suppress(DatabaseError, LeaseLost):
            lease.end()
