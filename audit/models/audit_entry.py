from __future__ import annotations

from typing import ClassVar

from django.db import models

from audit.ids import LENGTH

HASH_LENGTH = 64


class AuditEntry(models.Model):
    """A link of the chain over all executions that have ended, see `audit.chain`. Written once:
    a trigger refuses every change and removal."""

    class Kind(models.TextChoices):
        EXECUTION = "execution"
        # What retention has removed of all executions up to `through`.
        TEXTS_PRUNED = "texts_pruned", "texts pruned"
        ROWS_PRUNED = "rows_pruned", "rows pruned"

    number = models.BigIntegerField(primary_key=True, help_text="From 1 on, without gaps.")
    kind = models.CharField(max_length=16, choices=Kind)
    # No foreign key: the entry outlives the row.
    execution_id = models.CharField(max_length=LENGTH, blank=True)
    ended_at = models.DateTimeField(null=True)
    through = models.BigIntegerField(null=True)
    linked_at = models.DateTimeField()
    digests = models.JSONField(
        default=dict,
        help_text="Of the execution's facts and of each of its texts, so that these can go.",
    )
    keyed = models.BooleanField(help_text="Whether the hashes were made with AUDIT_CHAIN_KEY.")
    content_hash = models.CharField(max_length=HASH_LENGTH)
    previous_hash = models.CharField(max_length=HASH_LENGTH)
    hash = models.CharField(max_length=HASH_LENGTH)

    class Meta:
        verbose_name_plural = "audit entries"
        ordering: ClassVar = ["number"]
        indexes: ClassVar = [
            models.Index(
                fields=["kind", "-number"],
                condition=~models.Q(kind="execution"),
                name="entry_of_retention",
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["execution_id"],
                condition=models.Q(kind="execution"),
                name="one_entry_per_execution",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.hash}"
