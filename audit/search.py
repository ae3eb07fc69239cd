"""Runs by any part of their code, output, file names or user, also among millions.

Of every run the keeper notes which trigrams (three bytes in a row) occur in it. What contains
a phrase contains the phrase's trigrams, so an index leads to a few candidates, and only those are
read. Trigrams are numbered with 16 bits: two that share a number cost a needless look at a row,
while a hostile program cannot blow the index up with ever new ones. What is very long or has
nearly all numbers is noted as such, and read at each search.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from zlib import crc32

from django.db import connection
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from audit import texts
from audit.models import Execution, SandboxFile, SandboxInput, SearchEntry, SearchProgress

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.db.models import QuerySet

    from audit.models.execution import ExecutionQuerySet

# Candidates that are read in search of the phrase. Where there are more, it is so common that a
# page of hits is found among the newest runs.
FEW = 5000
BATCH = 200
# Of one batch, which is in memory at once: a run may have written megabytes.
BATCH_BYTES = 2_000_000
# A longer text is always a candidate. Beside the code of some, none is, by the default limits.
LONGEST = 2_000_000
# So is one with as many numbers: they would lead to it nearly always. Base64 has 37,000.
FULL = 2**16 * 3 // 4
# Characters that are folded at once: in the course of it some texts need many times their size.
SLICE = 2**16
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


# A checksum is the sum, without carries, of what each byte has to it in its place.
_NONE = crc32(bytes(3)) % 2**16
_FIRST, _SECOND, _THIRD = (
    [crc32((byte << shift).to_bytes(3)) % 2**16 ^ _NONE for byte in range(256)]
    for shift in (16, 8, 0)
)


def trigrams(*texts: str) -> list[int]:
    """Their numbers, or so many of them that there are `FULL`."""
    found: set[int] = set()
    for text in texts:
        data = b""
        for start in range(0, len(text), SLICE):
            # With the last two bytes, for the trigrams across the cut.
            data = data[-2:] + folded(text[start : start + SLICE])
            trios = zip(data, data[1:], data[2:], strict=False)
            found |= {_FIRST[a] ^ _SECOND[b] ^ _THIRD[c] for a, b, c in trios}
            if len(found) >= FULL:
                break
    return sorted((number ^ _NONE) - 2**15 for number in found)


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
            if SearchEntry._meta.get_field(array).null:
                noted |= Q(**{f"{array}__isnull": True})
        entries = SearchEntry.objects.filter(noted).values_list("pk", flat=True)
        candidates.update(entries[: FEW + 1])
    if len(candidates) > FEW:
        return runs.filter(_containing(phrase, scope))
    # The cheap question first: what the list's filters leave out is not read.
    candidates = set(runs.order_by().filter(pk__in=candidates).values_list("pk", flat=True))
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


def note(runs: QuerySet[Execution]) -> None:
    """Make their entries, or make them anew: also after a change of what they say."""
    columns = [texts.up_to(LONGEST, column) for column in texts.COLUMNS]
    rows = list(runs.order_by().values_list("pk", "user_id", *columns))
    files: dict[str, set[str]] = {pk: set() for pk, *_ in rows}
    written = SandboxFile.objects.filter(execution__in=files)
    for pk, name in written.values_list("execution_id", "name"):
        files[str(pk)].add(name)
    given = SandboxInput.objects.filter(session__executions__in=files)
    for pk, name in given.values_list("session__executions", "name"):
        if pk in files:
            files[pk].add(name)
    entries = [
        (pk, _array([user]), _array([code]), _array([stdout, stderr]), _array(files[pk]))
        for pk, user, code, stdout, stderr in rows
    ]
    with connection.cursor() as cursor:
        cursor.executemany(NOTE, entries)


def _array(found: Iterable[str | None]) -> str | None:
    """As Postgres reads it, which is much faster than number by number. Null where a text is."""
    known = list(found)
    short = [text for text in known if text is not None]
    numbers = trigrams(*short) if len(short) == len(known) else []
    if len(short) < len(known) or len(numbers) >= FULL:
        return None
    return f"{{{','.join(map(str, numbers))}}}"


def note_ended(*, seconds: float = 1.0) -> int:
    """Make entries for runs that have ended, for a while; how many."""
    deadline = time.monotonic() + seconds
    noted = 0
    while True:
        pending = unnoted().order_by("created_at")
        running = pending.running().values_list("created_at", flat=True).first()
        batch = _batch(pending.exclude(status=Execution.Status.RUNNING))
        note(Execution.objects.filter(pk__in=[pk for pk, _ in batch]))
        noted += len(batch)
        # All before it are noted, but for those that still run.
        reached = [timezone.now() - SETTLED]
        reached += [created_at for _, created_at in batch[-1:]]
        reached += [running] if running else []
        _reach(min(reached))
        if not batch or time.monotonic() > deadline:
            return noted


def _batch(pending: QuerySet[Execution]) -> list[tuple[str, datetime]]:
    """The oldest of them, as many as fit into memory, and one at least; each with its time."""
    sizes = [Coalesce(texts.length(texts.up_to(LONGEST, c)), 0) for c in texts.COLUMNS]
    chosen: list[tuple[str, datetime]] = []
    total = 0
    for pk, created_at, *read in pending.values_list("pk", "created_at", *sizes)[:BATCH]:
        total += sum(read)
        if chosen and total > BATCH_BYTES:
            break
        chosen.append((pk, created_at))
    return chosen


def _reach(until: datetime) -> None:
    _, is_new = SearchProgress.objects.get_or_create(
        pk=SearchProgress.ONLY, defaults={"until": until}
    )
    if not is_new:
        SearchProgress.objects.filter(until__lt=until).update(until=until)
