from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from audit.ids import LENGTH, new_id
from audit.models.session import SandboxSession


class SandboxContainerQuerySet(models.QuerySet["SandboxContainer"]):
    def occupying(self) -> SandboxContainerQuerySet:
        """They take up room on the engine: all but those known to be removed."""
        return self.filter(removed_at=None)

    def warm(self) -> SandboxContainerQuerySet:
        return self.filter(state=SandboxContainer.State.WARM)

    def idle(self) -> SandboxContainerQuerySet:
        return self.filter(state=SandboxContainer.State.IDLE)


class SandboxContainer(models.Model):
    """One container, and whose it is. Whether it runs is the engine's to say."""

    class State(models.TextChoices):
        STARTING = "starting"
        WARM = "warm"
        LEASED = "leased"
        IDLE = "idle"
        GONE = "gone"

    id = models.CharField(primary_key=True, max_length=LENGTH, default=new_id, editable=False)
    state = models.CharField(max_length=8, choices=State, default=State.STARTING, db_index=True)
    session = models.ForeignKey(
        SandboxSession, models.SET_NULL, null=True, blank=True, related_name="containers"
    )
    image = models.CharField(max_length=255)
    limits = models.CharField(max_length=255, blank=True, help_text="What it was made with.")
    manifest = models.JSONField(
        default=dict,
        editable=False,
        help_text="What the workspace held when its last run ended: name to SHA-256.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    hot = models.BooleanField(
        default=False, help_text="Its preloaded Python was ready when its start was over."
    )
    ready_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(default=timezone.now)
    last_use = models.CharField(
        max_length=LENGTH,
        blank=True,
        editable=False,
        help_text="The lease of the last run that ended in it, which it is to confirm.",
    )
    ended_at = models.DateTimeField(null=True, blank=True)
    removed_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=100, blank=True)

    objects = SandboxContainerQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        indexes: ClassVar = [
            models.Index(fields=["-created_at"]),
            models.Index(
                fields=["last_used_at"],
                condition=models.Q(removed_at=None),
                name="container_occupying",
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["session"],
                condition=models.Q(state__in=["leased", "idle"]),
                name="one_container_per_session",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """Computed, so that the engine's container is found again without asking the engine."""
        return f"interpreter-{self.pk}"
