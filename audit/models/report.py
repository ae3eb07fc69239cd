from __future__ import annotations

from typing import Any

from django.db import models
from django.utils import timezone


class Report(models.Model):
    """What a part of the service last said of itself, for all its processes: one row for each."""

    class Name(models.TextChoices):
        KEEPER = "keeper", "the keeper's last pass"
        CANARY = "canary", "the last run of the keeper's own program"

    name = models.CharField(primary_key=True, max_length=16, choices=Name)
    at = models.DateTimeField(default=timezone.now)
    content = models.JSONField(default=dict)

    def __str__(self) -> str:
        return self.name

    @classmethod
    def say(cls, name: Report.Name, content: dict[str, Any]) -> None:
        cls.objects.update_or_create(name=name, defaults={"at": timezone.now(), "content": content})
