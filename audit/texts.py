"""The long texts of executions, in pieces that fit into memory: code may have many megabytes."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from django.db.models import BigIntegerField, Case, F, Func, TextField, When
from django.db.models.functions import Substr
from django.db.models.lookups import LessThanOrEqual

from audit.models import Execution

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import QuerySet
    from django.db.models.expressions import Combinable

COLUMNS = ("code", "stdout", "stderr")
# Bytes of what comes with its row, of which there are several at a time.
SHORT = 250_000
# Characters. For each part Postgres unpacks the text up to there, so that small ones cost much.
PART = 8_000_000
# Characters, of which a caller may make other forms that are many times as large.
SLICE = 2**16


def length(text: str | Combinable) -> Func:
    """In bytes, which Postgres knows without unpacking the text."""
    return Func(text, function="octet_length", output_field=BigIntegerField())


def up_to(longest: int, column: str) -> Case:
    """The text, or null in the place of one that is longer."""
    is_short = LessThanOrEqual(length(column), longest)
    return Case(When(is_short, then=F(column)), output_field=TextField())


def light(runs: QuerySet[Execution]) -> QuerySet[Execution]:
    """With their short texts alone: `slices` has the others, too."""
    short = {f"short_{column}": up_to(SHORT, column) for column in COLUMNS}
    return runs.defer(*COLUMNS).annotate(**short)


def slices(run: Execution, column: str) -> Iterator[str]:
    """The whole text, a slice at a time."""
    for part in _parts(run, column):
        for start in range(0, len(part), SLICE):
            yield part[start : start + SLICE]


def _parts(run: Execution, column: str) -> Iterator[str]:
    known = vars(run)
    text = known.get(column, known.get(f"short_{column}"))
    if text is not None:
        yield text
        return
    row = Execution.objects.filter(pk=run.pk)
    for start in count(1, PART):
        part = row.values_list(Substr(column, start, PART), flat=True).first() or ""
        yield part
        if len(part) < PART:
            return
