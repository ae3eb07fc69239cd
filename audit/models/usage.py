"""What quotas are counted in; see `keys.quotas`. Rows are written only where there are some."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from audit.ids import LENGTH
from keys.models import APIKey


class Usage(models.Model):
    """What a key, or a user of it, has used on a day (UTC), with the newest minute and hour that
    it ran in: their beginnings, and how many runs they have seen."""

    key = models.ForeignKey(APIKey, models.PROTECT, related_name="usage", db_index=False)
    user_id = models.CharField(
        "user", max_length=128, blank=True, help_text="Empty: all of the key's together."
    )
    day = models.DateField(db_index=True)
    runs = models.BigIntegerField(default=0)
    minute = models.DateTimeField()
    minute_runs = models.BigIntegerField(default=0)
    hour = models.DateTimeField()
    hour_runs = models.BigIntegerField(default=0)
    cpu_ms = models.BigIntegerField("CPU time (ms)", default=0)
    refused = models.JSONField(
        default=dict, help_text="How many calls were refused, by the name of the quota."
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["key", "user_id", "day"], name="one_usage_per_day"),
        ]

    def __str__(self) -> str:
        return f"{self.key_id} {self.user_id} {self.day}"


class Reservation(models.Model):
    """What a run has been promised before its other rows say it: a place among those that run at
    the same time, and room in the store. It has the run's id, and goes when that has ended."""

    id = models.CharField(primary_key=True, max_length=LENGTH, editable=False)
    key = models.ForeignKey(APIKey, models.PROTECT, related_name="+", db_index=False)
    user_id = models.CharField("user", max_length=128, blank=True)
    stored_bytes = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.id
