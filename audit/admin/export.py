"""Lists as files, of any length: a row is in memory for as long as it takes to send it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
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
    """By a cursor of the server, which lives as long as the transaction."""
    with transaction.atomic():
        for values in runs.values_list(*wanted.values()).iterator(chunk_size=CHUNK):
            yield dict(zip(wanted, values, strict=True))


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
