from __future__ import annotations

from django.db import models


class Failure(models.Model):
    """How often a credential was wrong in the current window of time; see `keys.throttling`."""

    bucket = models.CharField(primary_key=True, max_length=32)
    failures = models.IntegerField()
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.bucket
