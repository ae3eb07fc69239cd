"""What a key and an issuer have in common: who answers for it, and what may be done with it."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from keys.visible import visible

NAME_LENGTH = 100
OWNER_LENGTH = 150


class KeyScope(models.TextChoices):
    """LibreChat needs both."""

    EXEC = "exec", "exec: run programs"
    FILES = "files", "files: upload, list, download and delete files"


def all_scopes() -> list[str]:
    return list(KeyScope.values)


class KeyLimits(models.Model):
    """What a key's programs get less of than others, see `keys.limits`. Empty: the server's."""

    cpus = models.FloatField("CPUs", null=True, blank=True)
    memory_mb = models.PositiveIntegerField("memory (MB)", null=True, blank=True)
    pids = models.PositiveIntegerField("processes", null=True, blank=True)
    workspace_mb = models.PositiveIntegerField("/mnt/data (MB)", null=True, blank=True)
    tmp_mb = models.PositiveIntegerField("/tmp (MB)", null=True, blank=True)  # noqa: S108
    shm_mb = models.PositiveIntegerField("/dev/shm (MB)", null=True, blank=True)  # noqa: S108
    inodes = models.PositiveIntegerField("files in each", null=True, blank=True)
    max_run_seconds = models.FloatField("time (s)", null=True, blank=True)
    cpu_seconds = models.PositiveIntegerField("CPU time (s)", null=True, blank=True)
    open_files = models.PositiveIntegerField("open files", null=True, blank=True)
    write_mb = models.PositiveIntegerField("file size (MB)", null=True, blank=True)
    output_bytes = models.PositiveBigIntegerField("output (bytes)", null=True, blank=True)
    file_mb = models.PositiveIntegerField("size of a kept file (MB)", null=True, blank=True)
    files_mb = models.PositiveIntegerField("size of all kept files (MB)", null=True, blank=True)
    max_session_files = models.PositiveIntegerField("kept files", null=True, blank=True)
    max_output_files = models.PositiveIntegerField("listed files", null=True, blank=True)

    class Meta:
        abstract = True


class KeyQuotas(models.Model):
    """How much a key, and each user of it, may use; see `keys.quotas`. Empty: the server's."""

    runs_per_minute = models.PositiveIntegerField(null=True, blank=True)
    runs_per_hour = models.PositiveIntegerField(null=True, blank=True)
    runs_per_day = models.PositiveIntegerField(null=True, blank=True)
    cpu_seconds_per_day = models.PositiveIntegerField("CPU seconds per day", null=True, blank=True)
    concurrent_runs = models.PositiveIntegerField("runs at a time", null=True, blank=True)
    stored_mb = models.PositiveIntegerField("stored files (MB)", null=True, blank=True)
    user_runs_per_minute = models.PositiveIntegerField("runs per minute", null=True, blank=True)
    user_runs_per_hour = models.PositiveIntegerField("runs per hour", null=True, blank=True)
    user_runs_per_day = models.PositiveIntegerField("runs per day", null=True, blank=True)
    user_cpu_seconds_per_day = models.PositiveIntegerField(
        "CPU seconds per day", null=True, blank=True
    )
    user_concurrent_runs = models.PositiveIntegerField("runs at a time", null=True, blank=True)
    user_stored_mb = models.PositiveIntegerField("stored files (MB)", null=True, blank=True)

    class Meta:
        abstract = True


class Credential(KeyLimits, KeyQuotas):
    name = models.CharField(max_length=NAME_LENGTH)
    owner = models.CharField(
        max_length=OWNER_LENGTH, blank=True, help_text="Who answers for it: a person or a team."
    )
    note = models.TextField(blank=True)
    scopes = ArrayField(
        models.CharField(max_length=16, choices=KeyScope),
        default=all_scopes,
        help_text="What may be done with it. LibreChat needs both.",
    )
    image = models.CharField(
        "sandbox image",
        max_length=63,
        blank=True,
        db_default="",
        help_text="The image that its programs run in, by its name in SANDBOX_IMAGES. From the "
        "next run on, in a new container.",
    )
    networks = ArrayField(
        models.CharField(max_length=64),
        default=list,
        blank=True,
        verbose_name="allowed networks",
        help_text="From where it may be used, as 10.0.3.0/24, separated by commas. Empty: from "
        "everywhere. A call that comes through a proxy is from nowhere.",
    )
    store_code = models.BooleanField(
        default=True,
        db_default=True,
        help_text="Whether the audit log has the code and arguments of its runs, from the next run "
        "on. The server can have it none of them: AUDIT_STORE_CODE.",
    )
    store_output = models.BooleanField(
        default=True,
        db_default=True,
        help_text="Whether the audit log has what its runs print, from the next run on. The server "
        "can have it none of that: AUDIT_STORE_OUTPUT.",
    )

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return visible(self.name)
