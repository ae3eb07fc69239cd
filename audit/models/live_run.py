from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from audit.models.execution import Execution


class LiveRunQuerySet(models.QuerySet["LiveRun"]):
    def publish(self, row: LiveRun) -> None:
        """What the run has written so far, in place of what it had written before."""
        self.bulk_create(
            [row],
            update_conflicts=True,
            unique_fields=["execution"],
            update_fields=["stdout", "stderr", "stdout_bytes", "stderr_bytes"],
        )

    def ask_to_stop(self, execution_id: str) -> bool:
        """Whether somebody has to be told: False if the run has ended, or was asked before."""
        if not Execution.objects.running().filter(pk=execution_id).exists():
            return False
        self.bulk_create([LiveRun(execution_id=execution_id)], ignore_conflicts=True)
        row = self.filter(execution=execution_id, stop_requested_at=None)
        return bool(row.update(stop_requested_at=timezone.now()))

    def asked_to_stop(self) -> LiveRunQuerySet:
        return self.exclude(stop_requested_at=None)

    def of_ended_runs(self) -> LiveRunQuerySet:
        """A worker that dies leaves its own, and a stop may come just after the end."""
        return self.exclude(execution__in=Execution.objects.running())


class LiveRun(models.Model):
    """Where a run and those who watch it meet, for as long as it goes on. Its execution has all of
    it afterwards, so this table is not logged: a crash of Postgres empties it."""

    execution = models.OneToOneField(
        Execution,
        models.CASCADE,
        primary_key=True,
        # One that is left over harms nobody, and must not keep its execution from being deleted.
        db_constraint=False,
        related_name="live",
    )
    stdout = models.TextField(blank=True, help_text="The end of what it has written so far.")
    stderr = models.TextField(blank=True, help_text="The end of what it has written so far.")
    stdout_bytes = models.BigIntegerField(default=0, help_text="Written so far, without the cut.")
    stderr_bytes = models.BigIntegerField(default=0, help_text="Written so far, without the cut.")
    stop_requested_at = models.DateTimeField(null=True, blank=True)

    objects = LiveRunQuerySet.as_manager()

    class Meta:
        default_permissions: ClassVar = ()

    def __str__(self) -> str:
        return self.execution_id
