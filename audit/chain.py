"""The chain that shows whether executions were changed, removed or added behind our back.

A run's end does not wait for it: that is one statement, in many processes at once, and a chain is
one sequence. Ended executions are linked a few seconds later, in batches, by whoever holds the
chain's lock: the keeper, or a command that needs the chain complete.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from audit import canonical, texts
from audit.models import AuditEntry, Execution

Kind = AuditEntry.Kind

# Any number, the same in every process of an installation.
CHAIN_LOCK = 7_245_004
# With their short texts; they come in a few at a time.
BATCH = 200
FETCHED = 20
# How many are looked for at a time: their ids alone.
SCAN = 20_000
# An execution's row comes that much later than it says that it was created, at most, if the clocks
# agree. What comes later still is found by a look at all.
MARGIN = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Linked:
    count: int
    # All that were created before this have been linked: where the next look can begin. None where
    # the time did not suffice.
    complete_until: datetime | None


def unlinked(since: datetime | None = None) -> QuerySet[Execution]:
    """Executions that have ended and are not in the chain, in the order in which they ended."""
    entries = AuditEntry.objects.filter(execution_id=OuterRef("pk"), kind=Kind.EXECUTION)
    ended = Execution.objects.of_callers().exclude(status=Execution.Status.RUNNING)
    if since is not None:
        ended = ended.filter(created_at__gte=since)
    return ended.filter(~Exists(entries)).order_by("ended_at", "pk")


def link(since: datetime | None = None, *, seconds: float = math.inf) -> Linked:
    """Link all that have ended, or as many as the time allows; with `since`, look only among those
    created after it. Safe in several processes at once."""
    deadline = time.monotonic() + seconds
    began = timezone.now()
    running = Execution.objects.running().order_by("created_at")
    oldest = running.values_list("created_at", flat=True).first()
    count = 0
    while ids := list(unlinked(since).values_list("pk", flat=True)[:SCAN]):
        for at in range(0, len(ids), BATCH):
            if time.monotonic() > deadline:
                return Linked(count, None)
            count += _link(ids[at : at + BATCH])
    return Linked(count, min(began, oldest or began) - MARGIN)


def _link(ids: Iterable[str]) -> int:
    with transaction.atomic():
        lock()
        # Somebody else may have linked some of them before we had the lock.
        found = texts.light(unlinked().filter(pk__in=list(ids)))
        entries: list[AuditEntry] = []
        last = head()
        for execution in found.iterator(chunk_size=FETCHED):
            last = following(
                last,
                kind=Kind.EXECUTION,
                execution_id=execution.pk,
                ended_at=execution.ended_at or execution.created_at,
                digests=canonical.digests(execution, settings.AUDIT_CHAIN_KEY),
            )
            entries.append(last)
        AuditEntry.objects.bulk_create(entries)
        return len(entries)


def lock() -> None:
    """Until the transaction ends, nobody else adds to the chain."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CHAIN_LOCK])


def head() -> AuditEntry | None:
    return AuditEntry.objects.order_by("-number").first()


def following(
    last: AuditEntry | None,
    *,
    kind: AuditEntry.Kind,
    execution_id: str = "",
    ended_at: datetime | None = None,
    through: int | None = None,
    digests: dict[str, str | None] | None = None,
) -> AuditEntry:
    """The next entry, not saved yet. Whoever makes it holds the lock."""
    key = settings.AUDIT_CHAIN_KEY
    entry = AuditEntry(
        number=last.number + 1 if last else 1,
        kind=kind,
        execution_id=execution_id,
        ended_at=ended_at,
        through=through,
        linked_at=timezone.now(),
        digests=digests or {},
        keyed=bool(key),
        previous_hash=last.hash if last else canonical.GENESIS,
    )
    entry.content_hash = canonical.content_hash(entry, key)
    entry.hash = canonical.entry_hash(entry, key)
    return entry


def pruned_through(kind: AuditEntry.Kind) -> int:
    """The number up to which retention has been."""
    last = AuditEntry.objects.filter(kind=kind).order_by("-number").first()
    return (last and last.through) or 0
