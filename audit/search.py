"""Runs by any part of their code, output, file names or user, also among millions.

Of every run the keeper notes which trigrams (three bytes in a row) occur in it. What contains
a phrase contains the phrase's trigrams, so an index leads to a few candidates, and only those are
read. Trigrams are numbered with 16 bits: two that share a number cost a needless look at a row,
while a hostile program cannot blow the index up with ever new ones.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from zlib import crc32

from django.db import connection
from django.db.models import BigIntegerField, Exists, Func, OuterRef, Q
from django.utils import timezone

from audit.models import Execution, SandboxFile, SandboxInput, SearchEntry, SearchProgress

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.db.models import QuerySet
    from django.db.models.expressions import Combinable

    from audit.models.execution import ExecutionQuerySet

# Candidates that are read in search of the phrase. Where there are more, it is so common that a
# page of hits is found among the newest runs.
FEW = 5000
BATCH = 200
# Of one batch, which is in memory at once: a run may have written megabytes.
BATCH_BYTES = 2_000_000
# Until then rows may still be committed with an earlier time, by a server whose clock is behind.
SETTLED = timedelta(minutes=10)

NOTE = """
    INSERT INTO audit_searchentry (execution_id, "user", code, output, files)
    VALUES (%s, %s::smallint[], %s::smallint[], %s::smallint[], %s::smallint[])
    ON CONFLICT (execution_id) DO UPDATE SET
        "user" = excluded."user", code = excluded.code,
        output = excluded.output, files = excluded.files
"""


@dataclass(frozen=True, slots=True)
class Scope:
    """What somebody may look into. The rest must not even show by what is found."""

    code: bool = True
    output: bool = True
    files: bool = True

    @property
    def columns(self) -> list[str]:
        code = ["code"] if self.code else []
        return ["user_id", *code, *(["stdout", "stderr"] if self.output else [])]

    @property
    def arrays(self) -> list[str]:
        return ["user", *(name for name in ("code", "output", "files") if getattr(self, name))]


def folded(text: str) -> bytes:
    """At least as coarse as the database's comparison, character by character: what that takes for
    the same is the same here."""
    return text.upper().casefold().encode()


def trigrams(*texts: str) -> list[int]:
    found: set[tuple[int, int, int]] = set()
    for text in map(folded, texts):
        found.update(zip(text, text[1:], text[2:], strict=False))
    return sorted({crc32(bytes(each)) % 2**16 - 2**15 for each in found})


def find(runs: QuerySet[Execution], phrase: str, scope: Scope) -> QuerySet[Execution]:
    """Those that contain the phrase, in any case. One that is too short to have a trigram is
    taken for a whole user."""
    wanted = trigrams(phrase)
    if not wanted:
        return runs.filter(user_id=phrase)
    # In this order: what is noted in between is in both.
    candidates = set(unnoted().values_list("pk", flat=True)[: FEW + 1])
    if len(candidates) <= FEW:
        noted = Q()
        for array in scope.arrays:
            noted |= Q(**{f"{array}__contains": wanted})
        entries = SearchEntry.objects.filter(noted).values_list("pk", flat=True)
        candidates.update(entries[: FEW + 1])
    if len(candidates) > FEW:
        return runs.filter(_containing(phrase, scope))
    return runs.filter(pk__in=_confirmed(candidates, phrase, scope))


def _in_columns(phrase: str, scope: Scope) -> Q:
    found = Q()
    for column in scope.columns:
        found |= Q(**{f"{column}__icontains": phrase})
    return found


def _containing(phrase: str, scope: Scope) -> Q:
    found = _in_columns(phrase, scope)
    if scope.files:
        written = SandboxFile.objects.filter(execution=OuterRef("pk"), name__icontains=phrase)
        given = SandboxInput.objects.filter(session=OuterRef("session_id"), name__icontains=phrase)
        found |= Q(Exists(written)) | Q(Exists(given))
    return found


def _confirmed(candidates: set[str], phrase: str, scope: Scope) -> list[str]:
    """Files are asked for first, by their runs: as a part of the other question they would have
    the planner read the names of all files there are."""
    found = _in_columns(phrase, scope)
    if scope.files:
        written = SandboxFile.objects.filter(execution__in=candidates, name__icontains=phrase)
        given = SandboxInput.objects.filter(
            session__executions__in=candidates, name__icontains=phrase
        )
        found |= Q(pk__in=set(written.values_list("execution_id", flat=True)))
        found |= Q(session__in=set(given.values_list("session_id", flat=True)))
    rows = Execution.objects.filter(found, pk__in=candidates)
    return list(rows.order_by().values_list("pk", flat=True))


def unnoted() -> ExecutionQuerySet:
    """Those that the index does not know yet: the newest, and those that still run."""
    until = SearchProgress.reached()
    runs = Execution.objects.of_callers()
    if until:
        runs = runs.filter(created_at__gte=until)
    return runs.filter(~Exists(SearchEntry.objects.filter(pk=OuterRef("pk"))))


def note(runs: Iterable[Execution]) -> None:
    """Make their entries, or make them anew: also after a change of what they say."""
    rows = {run.pk: run for run in runs}
    files: dict[str, set[str]] = {pk: set() for pk in rows}
    written = SandboxFile.objects.filter(execution__in=rows)
    for pk, name in written.values_list("execution_id", "name"):
        files[str(pk)].add(name)
    given = SandboxInput.objects.filter(session__executions__in=rows)
    for pk, name in given.values_list("session__executions", "name"):
        if pk in files:
            files[pk].add(name)
    entries = [
        (pk, *map(_array, (run.user_id, run.code, [run.stdout, run.stderr], files[pk])))
        for pk, run in rows.items()
    ]
    with connection.cursor() as cursor:
        cursor.executemany(NOTE, entries)


def _array(texts: str | Iterable[str]) -> str:
    """As Postgres reads it, which is much faster than number by number."""
    found = trigrams(texts) if isinstance(texts, str) else trigrams(*texts)
    return f"{{{','.join(map(str, found))}}}"


def note_ended(*, seconds: float = 1.0) -> int:
    """Make entries for runs that have ended, for a while; how many."""
    deadline = time.monotonic() + seconds
    noted = 0
    while True:
        pending = unnoted().order_by("created_at")
        running = pending.running().values_list("created_at", flat=True).first()
        batch = _batch(pending.exclude(status=Execution.Status.RUNNING))
        note(batch)
        noted += len(batch)
        # All before it are noted, but for those that still run.
        reached = [timezone.now() - SETTLED]
        reached += [run.created_at for run in batch[-1:]]
        reached += [running] if running else []
        _reach(min(reached))
        if not batch or time.monotonic() > deadline:
            return noted


def _batch(pending: QuerySet[Execution]) -> list[Execution]:
    """The oldest of them, as many as fit into memory, and one at least."""
    length: Combinable = Func("code", function="octet_length", output_field=BigIntegerField())
    for column in ("stdout", "stderr"):
        length += Func(column, function="octet_length", output_field=BigIntegerField())
    chosen: list[str] = []
    total = 0
    for pk, size in pending.values_list("pk", length)[:BATCH]:
        total += size
        if chosen and total > BATCH_BYTES:
            break
        chosen.append(pk)
    rows = Execution.objects.filter(pk__in=chosen).order_by("created_at")
    return list(rows.only("user_id", "code", "stdout", "stderr", "created_at"))


def _reach(until: datetime) -> None:
    _, is_new = SearchProgress.objects.get_or_create(
        pk=SearchProgress.ONLY, defaults={"until": until}
    )
    if not is_new:
        SearchProgress.objects.filter(until__lt=until).update(until=until)
