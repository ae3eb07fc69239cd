"""The keeper's work in the file store: what no row leads to any more goes.

A bucket takes its time for each of many files, or is down: this goes on beside the keeper's other
work, and each part of it for some seconds, after which the next pass goes on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from audit.models import SandboxFile, SandboxSession
from sandbox import leftovers, metrics, store
from sandbox.passes import do_each, within

# Of each part in a pass that has much to do.
WORK_SECONDS = 5.0
PASS_SECONDS = 5.0
SWEEP_SECONDS = 3600.0
BATCH = 1000


def tidy() -> None:
    """Everything but looking through the whole store."""
    do_each(
        lambda: metrics.count_work("leftover", store.sweep_incoming()),
        delete_files_of_ended,
        lambda: metrics.count_work("version", expire_versions()),
        leftovers.clear_away,
    )


def delete_files_of_ended(*, seconds: float = WORK_SECONDS) -> None:
    """Of all sessions that have ended: a hint that is used again ends its expired session, and
    whoever ended one may have crashed. The bytes go before the rows that lead here."""
    ended = SandboxSession.objects.unleased().exclude(ended_at=None)
    files = SandboxFile.objects.filter(deleted_at=None)
    session_ids = files.filter(session__in=ended).values_list("session", flat=True)
    for session_id in within(seconds, session_ids.order_by().distinct()):
        store.delete_session(session_id)
        files.filter(session=session_id).update(deleted_at=timezone.now())


def expire_versions(*, seconds: float = WORK_SECONDS) -> int:
    """Delete versions that a later run has replaced, once they are as old as a session that was
    never used again: a session in daily use would otherwise keep them all."""
    before = timezone.now() - timedelta(hours=settings.SANDBOX_SESSION_HOURS)
    replaced = SandboxFile.objects.filter(deleted_at=None, superseded_at__lt=before, used_by=None)
    expired: list[str] = []
    try:
        for file in within(seconds, replaced[:BATCH]):
            store.delete_file(file.store_key)
            expired.append(file.pk)
    finally:
        SandboxFile.objects.filter(pk__in=expired).update(deleted_at=timezone.now())
    return len(expired)


def sweep() -> int:
    """Remove bytes without a row, as a crash between the two leaves them, from the whole store."""
    return Sweep().go_on(seconds=math.inf)


class Sweep:
    """One now and then, in as many passes as it takes."""

    def __init__(self) -> None:
        self._due = float("-inf")
        self._batches: Iterator[list[str]] | None = None

    def go_on(self, *, seconds: float = WORK_SECONDS) -> int:
        if self._batches is None:
            if time.monotonic() < self._due:
                return 0
            self._batches = store.kept_long_ago()
        # After a failure there is nothing to go on with, and the next one begins anew.
        batches, self._batches = self._batches, None
        deadline = time.monotonic() + seconds
        swept = 0
        for batch in batches:
            swept += delete_without_row(batch)
            if time.monotonic() >= deadline:
                self._batches = batches
                return swept
        store.sweep_directories()
        self._due = time.monotonic() + SWEEP_SECONDS
        return swept


def delete_without_row(keys: list[str]) -> int:
    # Each by the id that its key ends in.
    by_id = {key.rpartition("/")[2]: key for key in keys}
    kept = SandboxFile.objects.filter(pk__in=by_id, deleted_at=None)
    orphans = by_id.keys() - set(kept.values_list("pk", flat=True)) if by_id else set()
    for file_id in orphans:
        store.delete_file(by_id[file_id])
        metrics.count_work("swept", 1)
    return len(orphans)


class StoreKeeper:
    def __init__(self) -> None:
        self._sweep = Sweep()

    def pass_once(self) -> None:
        do_each(tidy, self._sweep.go_on)
