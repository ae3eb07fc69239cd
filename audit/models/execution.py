from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.utils import timezone

from audit.ids import LENGTH, new_id
from audit.models.container import SandboxContainer
from audit.models.session import SandboxSession
from keys.models import APIKey
from keys.models.api_key import CHECK


class ExecutionQuerySet(models.QuerySet["Execution"]):
    def running(self) -> ExecutionQuerySet:
        return self.filter(status=Execution.Status.RUNNING)

    def of_callers(self) -> ExecutionQuerySet:
        """Not the server's own, which are gone again in a moment."""
        return self.exclude(key__prefix__startswith=CHECK)

    def ahead_of(self, execution: Execution) -> ExecutionQuerySet:
        """Those that found no room before this one did, and still wait. A dead worker's run
        leaves the line when its lease expires or another run takes the session."""
        now = timezone.now()
        return self.running().filter(
            queued_at__lt=execution.queued_at or now,
            container=None,
            session__lease_token=models.F("lease_token"),
            session__lease_expires_at__gt=now,
        )


class Execution(models.Model):
    """One run: who, what code, what came out, how it ended. Written before the container is asked,
    so that a crash leaves evidence."""

    class Status(models.TextChoices):
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        TIMED_OUT = "timed_out"
        OUT_OF_MEMORY = "out_of_memory"
        ABORTED = "aborted"

    class Source(models.TextChoices):
        """Where the run's container came from."""

        SESSION = "session", "the session's own"
        POOL = "pool", "warm from the pool"
        RECYCLED = "recycled", "another session's of the same user, emptied"
        CREATED = "created", "created for this run"

    class Record(models.TextChoices):
        """What the row has of the run's texts."""

        STORED = "stored"
        NOT_STORED = "not_stored", "not stored, as the server or the key wants it"
        PRUNED = "pruned", "removed, as it was older than such texts are kept"

    id = models.CharField(primary_key=True, max_length=LENGTH, default=new_id, editable=False)
    key = models.ForeignKey(APIKey, models.PROTECT, related_name="executions")
    session = models.ForeignKey(SandboxSession, models.PROTECT, related_name="executions")
    container = models.ForeignKey(
        SandboxContainer, models.SET_NULL, null=True, blank=True, related_name="executions"
    )
    container_source = models.CharField(max_length=8, choices=Source, blank=True)
    user_id = models.CharField("user", max_length=128, blank=True, db_index=True)
    entity_id = models.CharField("entity", max_length=128, blank=True)
    client_address = models.GenericIPAddressField(null=True, blank=True)
    language = models.CharField(max_length=16)
    code = models.TextField(blank=True)
    args = models.JSONField(default=list, blank=True)
    code_record = models.CharField(
        "code and arguments",
        max_length=10,
        choices=Record,
        default=Record.STORED,
        db_default=Record.STORED,
        editable=False,
    )
    status = models.CharField(max_length=16, choices=Status, default=Status.RUNNING, db_index=True)
    message = models.CharField(max_length=255, blank=True)
    exit_code = models.IntegerField(null=True, blank=True)
    signal = models.CharField(max_length=16, blank=True)
    limits_hit = models.JSONField(
        default=list, blank=True, help_text="Which limits it came up against; a list of `LimitHit`."
    )
    stdout = models.TextField(blank=True)
    stderr = models.TextField(blank=True)
    output_record = models.CharField(
        "output",
        max_length=10,
        choices=Record,
        default=Record.STORED,
        db_default=Record.STORED,
        editable=False,
    )
    stdout_bytes = models.BigIntegerField(default=0, help_text="Written, also past the limit.")
    stderr_bytes = models.BigIntegerField(default=0, help_text="Written, also past the limit.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    queued_at = models.DateTimeField(
        null=True, blank=True, help_text="When it found all containers busy."
    )
    lease_token = models.CharField(
        max_length=LENGTH,
        blank=True,
        editable=False,
        help_text="Its hold on the session: when that has another one, this run's worker is dead.",
    )
    ended_at = models.DateTimeField(null=True, blank=True)
    wall_ms = models.IntegerField(null=True, blank=True)
    cpu_ms = models.IntegerField(null=True, blank=True)
    memory_bytes = models.BigIntegerField("peak memory", null=True, blank=True)
    step_ms = models.JSONField(
        "steps (ms)",
        default=dict,
        blank=True,
        help_text="How long each step of the request took, up to the writing of this.",
    )

    objects = ExecutionQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        indexes: ClassVar = [
            models.Index(fields=["-created_at"]),
            models.Index(
                fields=["queued_at"],
                condition=models.Q(status="running"),
                name="execution_running",
            ),
            GinIndex(
                fields=["limits_hit"],
                opclasses=["jsonb_path_ops"],
                name="execution_limits_hit",
            ),
            # The few that somebody would look for; an entry for each run would cost each run.
            models.Index(
                fields=["wall_ms"], condition=models.Q(wall_ms__gte=10_000), name="execution_slow"
            ),
        ]
        # To see that and how something ran is one thing, to read what another.
        permissions: ClassVar = [
            ("view_code", "Can view the code and arguments of executions"),
            ("view_output", "Can view the output of executions"),
            ("stop_execution", "Can stop a running execution"),
            ("use_playground", "Can run programs in the playground"),
        ]

    def __str__(self) -> str:
        return f"{self.language} {self.pk}"

    def assign(self, container: SandboxContainer, source: Execution.Source) -> bool:
        """Note where it runs. Mostly this is when it is written for the first time. False if it has
        ended meanwhile, as one whose worker seemed to be dead."""
        self.container, self.container_source = container, source
        return self._write("container", "container_source", "lease_token")

    def queue(self) -> bool:
        """Take the last place in the line for a container, or the old one again where the container
        that it had got is dead. False if it has ended meanwhile."""
        self.queued_at = self.queued_at or timezone.now()
        self.container, self.container_source = None, ""
        return self._write("queued_at", "lease_token", "container", "container_source")

    def _write(self, *changed: str) -> bool:
        """What has ended does not change any more."""
        if self._state.adding:
            self.save(force_insert=True)
            return True
        running = Execution.objects.running().filter(pk=self.pk)
        return bool(running.update(**{name: getattr(self, name) for name in changed}))

    def abort(self, reason: str) -> bool:
        """Mark as ended by our fault, unless it has ended already."""
        return bool(
            Execution.objects.running()
            .filter(pk=self.pk)
            .update(status=self.Status.ABORTED, message=reason[:255], ended_at=timezone.now())
        )
