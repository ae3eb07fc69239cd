from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from django.db import models
from django.utils import timezone

from audit.ids import LENGTH, new_id
from keys.models import APIKey

# Renewed all the while. After a crash the session's next run waits for the rest of it.
LEASE = timedelta(seconds=30)


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
    expires_at = models.DateTimeField(db_index=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    lease_token = models.CharField(max_length=LENGTH, blank=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, editable=False)

    objects = SandboxSessionQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        indexes: ClassVar = [models.Index(fields=["-created_at"])]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["key", "user_id", "hint"],
                condition=~models.Q(hint="") & models.Q(ended_at=None),
                name="one_live_session_per_hint",
            ),
        ]

    def __str__(self) -> str:
        return self.id

    def lease(self) -> str | None:
        """Take the session for one run; None if another run has it.

        A conditional update decides between workers. The token proves the holder: whoever lost
        the lease to another worker fails to renew it.
        """
        token = new_id()
        taken = (
            SandboxSession.objects.unleased()
            .filter(pk=self.pk, ended_at=None)
            .update(lease_token=token, lease_expires_at=timezone.now() + LEASE)
        )
        return token if taken else None

    def renew_lease(self, token: str) -> bool:
        held = SandboxSession.objects.filter(pk=self.pk, lease_token=token)
        return bool(held.update(lease_expires_at=timezone.now() + LEASE))

    def release(self, token: str) -> bool:
        held = SandboxSession.objects.filter(pk=self.pk, lease_token=token)
        return bool(held.update(lease_token="", lease_expires_at=None))
