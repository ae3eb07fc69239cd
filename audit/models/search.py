from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models

from audit.models.execution import Execution

if TYPE_CHECKING:
    from datetime import datetime


class SearchEntry(models.Model):
    """The trigrams of what a run can be found by, as numbers (`audit.search`).

    In a table of its own, which the keeper fills: the run itself waits for none of it. Postgres'
    own arrays rather than its extension pg_trgm, which not every server has. Each column is what
    a permission may hide. Null stands for all numbers: what is very long or has nearly all of
    them is always a candidate.
    """

    # The database cascades by itself, also where rows are deleted past Django (see the migration).
    execution = models.OneToOneField(
        Execution,
        models.CASCADE,
        primary_key=True,
        related_name="search_entry",
        db_constraint=False,
    )
    user = ArrayField(models.SmallIntegerField(), default=list)
    code = ArrayField(models.SmallIntegerField(), default=list, null=True)
    output = ArrayField(models.SmallIntegerField(), default=list, null=True)
    files = ArrayField(models.SmallIntegerField(), default=list, null=True)

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [
            GinIndex(fields=["user", "code", "output", "files"], name="execution_search"),
            # That index does not know null.
            models.Index(
                fields=["execution"],
                condition=models.Q(code=None) | models.Q(output=None) | models.Q(files=None),
                name="execution_search_always",
            ),
        ]

    def __str__(self) -> str:
        return str(self.execution_id)


class SearchProgress(models.Model):
    """One row: every run that was created before has its entry."""

    ONLY = 1

    id = models.SmallIntegerField(primary_key=True, default=ONLY)
    until = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(pk=1), name="one_search_progress"),
        ]

    def __str__(self) -> str:
        return f"{self.until}"

    @classmethod
    def reached(cls) -> datetime | None:
        return cls.objects.values_list("until", flat=True).first()
