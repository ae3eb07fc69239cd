"""What is removed because it is old: in small batches, each a transaction that no run waits for.

Of executions only what is in the chain is removed, the first ended first, and each batch adds an
entry that says how far it went. So the chain tells what retention removed from what is missing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Case, Exists, F, OuterRef, QuerySet, Value, When
from django.utils import timezone

from audit import chain, search
from audit.models import AuditEntry, Execution, SandboxContainer, SandboxFile, SandboxInput
from audit.models import SandboxSession as Session

Kind = AuditEntry.Kind
Record = Execution.Record

BATCH = 200


@dataclass(slots=True)
class Pruned:
    """How many rows it was, or would be."""

    texts: int = 0
    executions: int = 0
    files: int = 0
    containers: int = 0
    sessions: int = 0
    # Whether that was all there is to remove today.
    is_complete: bool = True

    def __str__(self) -> str:
        return (
            f"the texts of {self.texts} executions, {self.executions} executions,"
            f" {self.files} files' rows, {self.containers} containers' rows"
            f" and {self.sessions} sessions"
        )


def prune(*, seconds: float = math.inf) -> Pruned:
    """Remove what is older than the settings say, or as much of it as the time allows. Safe in
    several processes at once. Only what is in the chain is removed: link first."""
    deadline = time.monotonic() + seconds
    pruned = Pruned()
    if before := _before(settings.AUDIT_KEEP_EXECUTIONS_DAYS):
        pruned.executions, is_done = _prune(Kind.ROWS_PRUNED, before, _remove_rows, deadline)
        pruned.is_complete &= is_done
    if before := _before(settings.AUDIT_KEEP_TEXTS_DAYS):
        pruned.texts, is_done = _prune(Kind.TEXTS_PRUNED, before, _remove_texts, deadline)
        pruned.is_complete &= is_done
    if before := _before(settings.AUDIT_KEEP_SESSIONS_DAYS):
        for name, rows in _OLD.items():
            count, is_done = _delete(rows(before), deadline)
            setattr(pruned, name, count)
            pruned.is_complete &= is_done
    return pruned


def due() -> Pruned:
    """What `prune` would remove; without what would become free to go only by that."""
    found = Pruned()
    last = 0
    if before := _before(settings.AUDIT_KEEP_EXECUTIONS_DAYS):
        found.executions, last = _count(_due(Kind.ROWS_PRUNED), before)
    if before := _before(settings.AUDIT_KEEP_TEXTS_DAYS):
        found.texts, _ = _count(_due(Kind.TEXTS_PRUNED).filter(number__gt=last), before)
    if before := _before(settings.AUDIT_KEEP_SESSIONS_DAYS):
        for name, rows in _OLD.items():
            setattr(found, name, rows(before).count())
    return found


def _before(days: float) -> datetime | None:
    return timezone.now() - timedelta(days=days) if days else None


def _due(kind: AuditEntry.Kind) -> QuerySet[AuditEntry]:
    """Where a row has gone, so have its texts."""
    kinds = {Kind.ROWS_PRUNED, kind}
    done = max(map(chain.pruned_through, kinds))
    return AuditEntry.objects.filter(kind=Kind.EXECUTION, number__gt=done).order_by("number")


def _count(entries: QuerySet[AuditEntry], before: datetime) -> tuple[int, int]:
    """How many there are, and the number of the last."""
    count = last = 0
    for entry in takewhile(_is_older_than(before), entries.iterator()):
        count, last = count + 1, entry.number
    return count, last


def _prune(
    kind: AuditEntry.Kind, before: datetime, remove: Callable[[list[str]], int], deadline: float
) -> tuple[int, bool]:
    """The oldest entries of executions up to the first that is not old enough: how many, and
    whether it has come to that. One batch in any case, however long it takes to look for it."""
    count = 0
    while True:
        with transaction.atomic():
            chain.lock()
            batch = list(takewhile(_is_older_than(before), _due(kind)[:BATCH]))
            if batch:
                count += remove([entry.execution_id for entry in batch])
                last = chain.head()
                chain.following(last, kind=kind, through=batch[-1].number).save(force_insert=True)
        if len(batch) < BATCH:
            return count, True
        if time.monotonic() >= deadline:
            return count, False


def _is_older_than(before: datetime) -> Callable[[AuditEntry], bool]:
    return lambda entry: entry.ended_at is not None and entry.ended_at < before


def _remove_texts(ids: list[str]) -> int:
    pruned: dict[str, Any] = {
        record: Case(
            When(**{record: Record.NOT_STORED}, then=F(record)), default=Value(Record.PRUNED.value)
        )
        for record in ("code_record", "output_record")
    }
    rows = Execution.objects.filter(pk__in=ids)
    count = rows.update(code="", args=[], stdout="", stderr="", **pruned)
    # Or the search's index would go on telling what was in them.
    search.note(rows)
    return count


def _remove_rows(ids: list[str]) -> int:
    # Their columns are not needed for it, least of all the texts.
    _, counts = Execution.objects.filter(pk__in=ids).only("pk").delete()
    return counts.get(Execution._meta.label, 0)


def _old_files(before: datetime) -> QuerySet[Any]:
    """Whose bytes went so long ago, that no execution leads to, and that no session of later days
    was given."""
    later = SandboxInput.objects.filter(file=OuterRef("pk")).exclude(session__ended_at__lt=before)
    return SandboxFile.objects.filter(~Exists(later), execution=None, deleted_at__lt=before)


def _old_containers(before: datetime) -> QuerySet[Any]:
    runs = Execution.objects.filter(container=OuterRef("pk"))
    return SandboxContainer.objects.filter(~Exists(runs), removed_at__lt=before)


def _old_sessions(before: datetime) -> QuerySet[Any]:
    """That nothing leads to any more."""
    session = {"session": OuterRef("pk")}
    return Session.objects.filter(
        ~Exists(Execution.objects.filter(**session)),
        ~Exists(SandboxFile.objects.filter(**session)),
        ~Exists(SandboxContainer.objects.filter(**session)),
        ended_at__lt=before,
    )


# Sessions last: rows of the others lead to them.
_OLD: dict[str, Callable[[datetime], QuerySet[Any]]] = {
    "files": _old_files,
    "containers": _old_containers,
    "sessions": _old_sessions,
}


def _delete(rows: QuerySet[Any], deadline: float) -> tuple[int, bool]:
    """From the oldest on, past what has to stay: how many, and whether that was all. What another
    process is just removing is its."""
    count, since = 0, None
    while True:
        with transaction.atomic():
            batch = rows.order_by("created_at").select_for_update(skip_locked=True, of=("self",))
            if since is not None:
                batch = batch.filter(created_at__gte=since)
            found = list(batch.values_list("pk", "created_at")[:BATCH])
            if found:
                since = found[-1][1]
                rows.model._default_manager.filter(pk__in=[pk for pk, _ in found]).delete()
                count += len(found)
        if len(found) < BATCH:
            return count, True
        if time.monotonic() >= deadline:
            return count, False
