"""What the dashboard would otherwise count anew from all executions: see `audit.statistics`.

Filled by the keeper for hours that are over. A trigger forgets an hour again when one of its
executions is deleted, comes late or is changed after its end, so the rows here are never wrong.
"""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from keys.models import APIKey


class RolledUpHour(models.Model):
    """An hour whose executions are all counted below. Of any other they are counted live."""

    hour = models.DateTimeField(primary_key=True)

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H:%M}"


class HourlyCount(models.Model):
    """How many of an hour's runs have something in common."""

    hour = models.DateTimeField()
    facet = models.CharField(max_length=16)
    value = models.TextField()
    # Of outcomes only: who wants to know the languages of one key asks the executions.
    key = models.ForeignKey(APIKey, models.CASCADE, null=True, related_name="+", db_index=False)
    runs = models.IntegerField()

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["facet", "hour"], include=["value", "key", "runs"], name="hourly_facet"
            ),
            models.Index(
                fields=["key", "hour"], condition=models.Q(key__isnull=False), name="hourly_key"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.facet} {self.value}"


class HourlyDurations(models.Model):
    """How long an hour's runs took, of one key or of all of them: a histogram."""

    hour = models.DateTimeField()
    key = models.ForeignKey(APIKey, models.CASCADE, null=True, related_name="+", db_index=False)
    buckets = ArrayField(models.SmallIntegerField())
    runs = ArrayField(models.IntegerField())

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["key", "hour"], name="hourly_durations"),
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H:%M}"
