"""Lists as files, of any length: in memory are a few rows at a time, and a page of ids."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q
from django.http import StreamingHttpResponse
from django.utils import timezone

from audit.models import Execution

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest

    from audit.search import Scope

Row = dict[str, Any]

# Fetched at a time; each may have megabytes of output.
CHUNK = 20
# Of ids alone.
PAGE = 1000
COLUMNS = {
    "id": "pk",
    "created_at": "created_at",
    "ended_at": "ended_at",
    "status": "status",
    "message": "message",
    "exit_code": "exit_code",
    "signal": "signal",
    "limits_hit": "limits_hit",
    "language": "language",
    "key": "key__name",
    "issuer": "key__issuer__name",
    "user": "user_id",
    "entity": "entity_id",
    "client_address": "client_address",
    "container_source": "container_source",
    "wall_ms": "wall_ms",
    "cpu_ms": "cpu_ms",
    "memory_bytes": "memory_bytes",
    "stdout_bytes": "stdout_bytes",
    "stderr_bytes": "stderr_bytes",
}
# With each whether the row has them, or why not.
CODE = {"code_record": "code_record", "args": "args", "code": "code"}
OUTPUT = {"output_record": "output_record", "stdout": "stdout", "stderr": "stderr"}

# Spreadsheets take a cell that begins like this for a formula, which may then call somewhere.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def columns(request: HttpRequest, scope: Scope) -> dict[str, str]:
    """Those that the run's page would show."""
    wanted = dict(COLUMNS)
    for model in ("session", "container"):
        if request.user.has_perm(f"audit.view_sandbox{model}"):
            wanted[model] = f"{model}_id"
    return wanted | (CODE if scope.code else {}) | (OUTPUT if scope.output else {})


def rows(runs: QuerySet[Execution], wanted: dict[str, str]) -> Iterator[Row]:
    """By many short queries, none of which waits for who reads: for the snapshot of a cursor
    Postgres would have to keep all that is replaced meanwhile, and every run replaces some."""
    for ids in pages(runs):
        for chunk in batched(ids, CHUNK):
            found = runs.filter(pk__in=chunk).order_by().values_list("pk", *wanted.values())
            by_id = {pk: values for pk, *values in found}
            # One that has gone, or is not what was asked for any more, is left out.
            for values in (by_id.pop(pk) for pk in chunk if pk in by_id):
                yield dict(zip(wanted, values, strict=True))


def pages(runs: QuerySet[Execution]) -> Iterator[list[str]]:
    """The ids in the list's order: newest first, or oldest first where it was turned round. Each
    page goes on behind the last one's end, so what comes meanwhile shifts nothing."""
    is_turned = runs.query.order_by[:1] == ("created_at",)
    later = "gt" if is_turned else "lt"
    # Without an end, a slow reader would be sent new ones for ever.
    rest = runs.filter(created_at__lte=timezone.now()) if is_turned else runs
    rest = rest.order_by("created_at" if is_turned else "-created_at", "-pk")
    page = rest
    while True:
        found = list(page.values_list("created_at", "pk")[:PAGE])
        if found:
            yield [pk for _, pk in found]
        if len(found) < PAGE:
            return
        time, pk = found[-1]
        # The first of them is what an index can begin at.
        page = rest.filter(
            Q(**{f"created_at__{later}e": time}),
            Q(**{f"created_at__{later}": time}) | Q(pk__lt=pk),
        )


def batched(ids: list[str], number: int) -> Iterator[list[str]]:
    for start in range(0, len(ids), number):
        yield ids[start : start + number]


def cell(value: Any) -> Any:
    """Text that stays text also in a spreadsheet."""
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, list):
        value = json.dumps(value, ensure_ascii=False)
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


class _Line:
    """A file for csv, which only ever holds what was written last."""

    def write(self, text: str) -> str:
        return text


def as_csv(names: list[str], found: Iterator[Row]) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield writer.writerow(names)
    for row in found:
        yield writer.writerow([cell(value) for value in row.values()])


def as_json_lines(names: list[str], found: Iterator[Row]) -> Iterator[str]:
    for row in found:
        yield json.dumps(row, default=lambda value: value.isoformat(), ensure_ascii=False) + "\n"


Writer = Callable[[list[str], Iterator[Row]], Iterator[str]]
FORMATS: dict[str, tuple[str, Writer]] = {
    "csv": ("text/csv; charset=utf-8", as_csv),
    "jsonl": ("application/jsonl; charset=utf-8", as_json_lines),
}


def exported(
    request: HttpRequest, runs: QuerySet[Execution], scope: Scope, kind: str
) -> StreamingHttpResponse:
    content_type, write = FORMATS[kind]
    wanted = columns(request, scope)
    name = f"executions-{timezone.now():%Y-%m-%d}.{kind}"
    log(request, name, scope)
    lines = write(list(wanted), rows(runs, wanted))
    response = StreamingHttpResponse(lines, content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def log(request: HttpRequest, name: str, scope: Scope) -> None:
    """Who took what along. Not the words that were searched for: they may be of the code, which
    not everybody who reads this log may see."""
    parts = [part for part, is_seen in (("code", scope.code), ("output", scope.output)) if is_seen]
    chosen = [f"{key}={value}" for key, value in request.GET.items() if value and key != "q"]
    if request.GET.get("q"):
        chosen.append("a search")
    LogEntry.objects.create(
        user_id=int(request.user.pk or 0),
        content_type=ContentType.objects.get_for_model(Execution),
        object_repr=name,
        action_flag=CHANGE,
        change_message=f"Exported with {' and '.join(parts) or 'neither code nor output'}; "
        f"{', '.join(chosen) or 'all of them'}.",
    )
