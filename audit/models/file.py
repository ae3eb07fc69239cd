from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.utils import timezone

from audit.ids import LENGTH, new_id
from audit.models.session import SandboxSession
from keys.visible import visible

if TYPE_CHECKING:
    from audit.models.execution import Execution

MAX_NAME = 1024


class SandboxFileQuerySet(models.QuerySet["SandboxFile"]):
    def live(self) -> SandboxFileQuerySet:
        """Its bytes can be read: not deleted, and its session has neither ended nor expired."""
        return self.filter(
            deleted_at=None, session__ended_at=None, session__expires_at__gt=timezone.now()
        )

    def current(self) -> SandboxFileQuerySet:
        """The newest version of each name, as the session's next run finds it."""
        return self.live().filter(superseded_at=None)


class SandboxFile(models.Model):
    """A durable file. Its bytes are in the file store under its id and never change."""

    id = models.CharField(primary_key=True, max_length=LENGTH, default=new_id, editable=False)
    session = models.ForeignKey(SandboxSession, models.CASCADE, related_name="files")
    execution: models.ForeignKey[Execution | None, Execution | None] = models.ForeignKey(
        "audit.Execution", models.SET_NULL, null=True, blank=True, related_name="files"
    )
    name = models.CharField(max_length=MAX_NAME, help_text="Path relative to /mnt/data.")
    size = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    content_type = models.CharField(max_length=255)
    read_only = models.BooleanField(default=False)
    executable = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    superseded_at = models.DateTimeField(
        null=True, blank=True, help_text="A later run wrote or removed the name; still readable."
    )
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = SandboxFileQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        indexes: ClassVar = [
            models.Index(fields=["-created_at"]),
            models.Index(fields=["session", "name"]),
            # The few whose bytes are there: the keeper asks for them again and again.
            models.Index(
                fields=["session"],
                include=["size"],
                condition=models.Q(deleted_at=None),
                name="file_kept",
            ),
        ]
        permissions: ClassVar = [("download_sandboxfile", "Can download sandbox files")]

    def __str__(self) -> str:
        return visible(self.name)

    @property
    def store_key(self) -> str:
        """Made of our own ids; the name is a program's to choose and never becomes a path."""
        return f"{self.session_id[:2]}/{self.session_id}/{self.pk}"


class SandboxInput(models.Model):
    """A file of another session that a session's runs find in their workspace."""

    session = models.ForeignKey(SandboxSession, models.CASCADE, related_name="inputs")
    file = models.ForeignKey(SandboxFile, models.CASCADE, related_name="used_by")
    name = models.CharField(max_length=MAX_NAME)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["session", "name"], name="one_input_per_name"),
        ]

    def __str__(self) -> str:
        return visible(self.name)
