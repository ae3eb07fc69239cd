"""What the keeper's own runs leave, and how it goes."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from audit.models import Execution, Reservation, SandboxContainer, SandboxSession, Usage
from keys.models import APIKey
from keys.models.api_key import CHECK
from sandbox import pool, store
from sandbox.passes import within

# Whoever made it is dead.
ABANDONED = timedelta(minutes=10)
WORK_SECONDS = 5.0


def clear_away(*, seconds: float = WORK_SECONDS) -> None:
    """What checks have left that were killed, or that could not reach the store."""
    before = timezone.now() - ABANDONED
    abandoned = APIKey.objects.filter(prefix__startswith=CHECK, created_at__lt=before)
    for key in within(seconds, abandoned):
        clear_away_of(key)


def clear_away_of(key: APIKey) -> None:
    for session in SandboxSession.objects.filter(key=key):
        containers = SandboxContainer.objects.filter(session=session)
        for container in containers.filter(removed_at=None):
            pool.discard(container, "the health check is over")
        store.delete_session(session.pk)
        # One that the engine has not removed yet is the keeper's.
        containers.exclude(removed_at=None).delete()
    Execution.objects.filter(key=key).delete()
    # Of earlier releases, whose checks were counted where the server has quotas.
    Usage.objects.filter(key=key).delete()
    Reservation.objects.filter(key=key).delete()
    SandboxSession.objects.filter(key=key).delete()
    key.delete()
