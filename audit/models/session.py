from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.db import models
from django.utils import timezone

from audit.ids import LENGTH, new_id
from audit.presence import new_token
from keys.models import APIKey

# Renewed all the while. After a crash the session's next run waits for the rest of it, unless the
# keeper ends it: `sandbox.census`.
LEASE = timedelta(seconds=30)

# To find, lease and keep alive in one statement: a conditional update decides between workers. The
# row that comes back is the newest, also after another worker's commit in between.
TAKE = """
    UPDATE audit_sandboxsession SET
        lease_token = %(token)s,
        lease_expires_at = %(lease_expires_at)s,
        last_used_at = %(now)s,
        expires_at = GREATEST(expires_at, %(expires_at)s)
    WHERE ended_at IS NULL AND expires_at > %(now)s
    AND (lease_expires_at IS NULL OR lease_expires_at <= %(now)s)
    AND {which}
    RETURNING *
"""

# Which session a caller may go on in. Only a run's: an upload's may be shared by all users of a
# skill or an agent.
CONTINUED = """
    id = %(id)s AND key_id = %(key)s AND origin = 'run'
    AND (%(user)s = '' OR user_id IN ('', %(user)s))
"""
HINTED = "key_id = %(key)s AND user_id = %(user)s AND hint = %(hint)s AND hint <> ''"


class SandboxSessionQuerySet(models.QuerySet["SandboxSession"]):
    def live(self) -> SandboxSessionQuerySet:
        return self.filter(ended_at=None, expires_at__gt=timezone.now())

    def expired(self) -> SandboxSessionQuerySet:
        return self.filter(ended_at=None, expires_at__lte=timezone.now())

    def unleased(self) -> SandboxSessionQuerySet:
        """Nobody works in them: never leased, released, or the holder stopped renewing."""
        return self.filter(
            models.Q(lease_expires_at=None) | models.Q(lease_expires_at__lte=timezone.now())
        )

    def take(self, session_id: str, *, expires_at: datetime) -> SandboxSession | None:
        """The live session, leased for one run and alive until then at least; None if there is
        none or another run has it."""
        values = {"id": session_id, **self.lease_until(expires_at)}
        return next(iter(self.raw(TAKE.format(which="id = %(id)s"), values)), None)

    def lease_until(self, expires_at: datetime) -> dict[str, Any]:
        """What `TAKE` needs. The token proves the holder: whoever lost the lease to another worker
        fails to renew it."""
        now = timezone.now()
        return {
            "token": new_token(),
            "now": now,
            "lease_expires_at": now + LEASE,
            "expires_at": expires_at,
        }


class SandboxSession(models.Model):
    """A workspace: files, and at most one container. LibreChat's `session_id`."""

    class Origin(models.TextChoices):
        RUN = "run"
        UPLOAD = "upload"

    class Kind(models.TextChoices):
        USER = "user"
        AGENT = "agent"
        SKILL = "skill"

    id = models.CharField(primary_key=True, max_length=LENGTH, default=new_id, editable=False)
    key = models.ForeignKey(APIKey, models.PROTECT, related_name="sessions")
    origin = models.CharField(max_length=8, choices=Origin)
    user_id = models.CharField("user", max_length=128, blank=True, db_index=True)
    entity_id = models.CharField("entity", max_length=128, blank=True)
    kind = models.CharField(max_length=8, choices=Kind, blank=True)
    resource_id = models.CharField("resource", max_length=128, blank=True)
    version = models.BigIntegerField(null=True, blank=True)
    hint = models.CharField("runtime session hint", max_length=128, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    has_files = models.BooleanField(
        default=True,
        editable=False,
        help_text="Whether its runs may find any: kept by one of them, or given to one.",
    )
    lease_token = models.CharField(max_length=LENGTH, blank=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, editable=False)

    objects = SandboxSessionQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        indexes: ClassVar = [
            models.Index(fields=["-created_at"]),
            # Of those that have ended, which are most, nobody asks when they would have expired.
            models.Index(
                fields=["expires_at"], condition=models.Q(ended_at=None), name="session_expiry"
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["key", "user_id", "hint"],
                condition=~models.Q(hint="") & models.Q(ended_at=None),
                name="one_live_session_per_hint",
            ),
        ]

    def __str__(self) -> str:
        return self.id

    def renew_lease(self, token: str) -> bool:
        held = SandboxSession.objects.filter(pk=self.pk, lease_token=token)
        return bool(held.update(lease_expires_at=timezone.now() + LEASE))

    def release(self, token: str) -> bool:
        held = SandboxSession.objects.filter(pk=self.pk, lease_token=token)
        return bool(held.update(lease_token="", lease_expires_at=None))
