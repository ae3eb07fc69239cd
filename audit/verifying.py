"""Whether the executions are still those that were linked, and what has become of the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

from django.conf import settings
from django.db import connection, transaction

from audit import canonical, chain
from audit.models import AuditEntry, Execution
from audit.texts import COLUMNS, light, slices

Kind = AuditEntry.Kind
Record = Execution.Record

# Executions are linked in the order in which they ended, but for the clocks of several servers and
# the time from an end to its commit.
OUT_OF_ORDER = timedelta(minutes=10)
FETCHED = 20


class KeyMissing(Exception):
    """Some entries were made with a key that is not there."""


@dataclass(slots=True)
class Report:
    """What was found, with the number of the entry first."""

    findings: list[tuple[int, str]] = field(default_factory=list)
    executions: int = 0
    texts_pruned: int = 0
    rows_pruned: int = 0
    unkeyed: int = 0
    head: AuditEntry | None = None
    found_head: int | None = None

    def say(self, number: int, text: str) -> None:
        self.findings.append((number, text))


def verify(*, expected_head: str = "") -> Report:
    """Of one moment: what is linked or pruned meanwhile is not seen."""
    report = Report()
    with _one_moment():
        texts, rows = map(chain.pruned_through, (Kind.TEXTS_PRUNED, Kind.ROWS_PRUNED))
        walk = _walk(report, expected_head)
        for entries in iter(partial(_some, walk), []):
            found = light(Execution.objects.all()).in_bulk(
                [entry.execution_id for entry in entries]
            )
            for entry in entries:
                execution = found.get(entry.execution_id)
                _compare(report, entry, execution, texts=texts, rows=rows)
    if expected_head and report.found_head is None:
        number = report.head.number if report.head else 0
        report.say(
            number,
            f"the head {expected_head} is not in the chain: entries were removed or written anew"
            " since it was noted",
        )
    return report


@contextmanager
def _one_moment() -> Iterator[None]:
    """Of a transaction that is going on already, the moment is that one's."""
    is_ours = not connection.in_atomic_block
    with transaction.atomic():
        if is_ours:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


def _some(entries: Iterator[AuditEntry]) -> list[AuditEntry]:
    return list(islice(entries, FETCHED))


def _walk(report: Report, expected_head: str) -> Iterator[AuditEntry]:
    """Check the chain itself, and pass on the entries of executions."""
    last: AuditEntry | None = None
    latest: datetime | None = None
    for entry in AuditEntry.objects.order_by("number").iterator(chunk_size=1000):
        _check_place(report, last, entry)
        _check_hashes(report, last, entry)
        if entry.hash == expected_head:
            report.found_head = entry.number
        if entry.kind == Kind.EXECUTION:
            if latest and entry.ended_at and entry.ended_at < latest - OUT_OF_ORDER:
                report.say(
                    entry.number,
                    f"execution {entry.execution_id} was inserted later: it says that it ended at"
                    f" {entry.ended_at:%Y-%m-%d %H:%M:%S}, and was linked after executions that"
                    f" ended at {latest:%Y-%m-%d %H:%M:%S}",
                )
            latest = max(filter(None, (latest, entry.ended_at)), default=None)
            yield entry
        report.head = last = entry


def _check_place(report: Report, last: AuditEntry | None, entry: AuditEntry) -> None:
    expected = last.number + 1 if last else 1
    if entry.number != expected:
        report.say(entry.number, f"entries {expected} to {entry.number - 1} are missing before it")
        return
    if entry.previous_hash == (last.hash if last else canonical.GENESIS):
        return
    before = AuditEntry.objects.filter(hash=entry.previous_hash).first()
    if before:
        report.say(entry.number, f"reordered: it was linked after what is entry {before.number}")
    elif last:
        report.say(entry.number, f"entry {last.number} is not the one that this was linked after")
    else:
        report.say(entry.number, "it is not the first entry: those before it are missing")


def _check_hashes(report: Report, last: AuditEntry | None, entry: AuditEntry) -> None:
    key = settings.AUDIT_CHAIN_KEY if entry.keyed else ""
    if entry.keyed and not key:
        raise KeyMissing
    if not entry.keyed:
        report.unkeyed += 1
        if last and last.keyed and settings.AUDIT_CHAIN_KEY:
            report.say(entry.number, "it was made without the key, unlike the one before it")
    if entry.content_hash != canonical.content_hash(entry, key):
        report.say(entry.number, "the entry was changed: its digests")
    elif entry.hash != canonical.entry_hash(entry, key):
        report.say(entry.number, "the entry was changed")


def _compare(
    report: Report, entry: AuditEntry, execution: Execution | None, *, texts: int, rows: int
) -> None:
    name = f"execution {entry.execution_id}"
    if execution is None:
        if entry.number <= rows:
            report.rows_pruned += 1
        else:
            report.say(entry.number, f"{name} is missing")
        return
    report.executions += 1
    if entry.number <= rows:
        report.say(entry.number, f"{name} is there again: retention had removed it")
    actual = canonical.digests(execution, settings.AUDIT_CHAIN_KEY if entry.keyed else "")
    if entry.number <= texts:
        report.texts_pruned += 1
        _compare_pruned(report, entry, execution, actual)
    changed = [part for part in actual if actual[part] != entry.digests.get(part)]
    if changed:
        report.say(entry.number, f"{name} was changed: {', '.join(changed)}")


def _compare_pruned(
    report: Report, entry: AuditEntry, execution: Execution, actual: dict[str, str | None]
) -> None:
    """Of a text that has gone, the digest is what is known; and it must have gone."""
    for text, record in canonical.TEXTS.items():
        is_pruned = getattr(execution, record) == Record.PRUNED
        if any(slices(execution, text)) if text in COLUMNS else getattr(execution, text):
            report.say(
                entry.number,
                f"execution {entry.execution_id} has {text} again: retention had removed it",
            )
        elif is_pruned:
            actual[text] = entry.digests.get(text)
