from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Left

from audit.admin.records import (
    DayRangeFilter,
    RecordAdmin,
    UserFilter,
    duration,
    link,
    shown,
    size,
)
from audit.ids import is_id
from audit.models import AuditEntry, Execution, LimitHit, SandboxFile, SandboxInput
from keys.admin.theme import label
from keys.visible import visible

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

STATUSES = {
    Execution.Status.RUNNING: "info",
    Execution.Status.SUCCEEDED: "success",
    Execution.Status.FAILED: "warning",
    Execution.Status.TIMED_OUT: "danger",
    Execution.Status.OUT_OF_MEMORY: "danger",
    Execution.Status.ABORTED: "danger",
}
# In the order in which a request goes through them, which the database does not keep.
STEPS = (
    "auth",
    "parse",
    "session",
    "turn",
    "inputs",
    "claim",
    "queue",
    "audit",
    "start",
    "attach",
    "reset",
    "files_in",
    "run",
    "collect",
    "store",
    "total",
)
# Up to a megabyte each: fetched for the one that is read, not for a list.
LARGE = ("code", "stdout", "stderr")
LISTED_CODE = 400
LISTED_FILES = 200


class LanguageFilter(admin.SimpleListFilter):
    """Those of the newest runs: to ask for all that ever occurred would read the whole table."""

    title = "language"
    parameter_name = "language"
    newest = 1000

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        recent = Execution.objects.values_list("language", flat=True)[: self.newest]
        return [(language, language) for language in sorted({*recent, self.value() or ""} - {""})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Execution]) -> QuerySet[Execution]:
        return queryset.filter(language=self.value()) if self.value() else queryset


class LimitFilter(admin.SimpleListFilter):
    title = "limit"
    parameter_name = "limit"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        return [(limit.value, str(limit.label)) for limit in LimitHit]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Execution]) -> QuerySet[Execution]:
        limit = self.value()
        return queryset.filter(limits_hit__contains=[limit]) if limit else queryset


def limits_hit(run: Execution) -> list[str]:
    """In words, where the words are known: a row may be newer than this."""
    labels = dict(LimitHit.choices)
    return [str(labels.get(name, visible(name))) for name in run.limits_hit]


def outcome(run: Execution) -> str:
    return label(run.get_status_display(), STATUSES[Execution.Status(run.status)])


def facts(run: Execution) -> list[str]:
    """What one wants to know before reading on."""
    ended = run.signal or ("" if run.exit_code is None else f"exit code {run.exit_code}")
    user = f"user {visible(run.user_id)}" if run.user_id else ""
    time = "" if run.wall_ms is None else duration(run.wall_ms)
    memory = "" if run.memory_bytes is None else size(run.memory_bytes)
    hit = limits_hit(run)
    limits = f"at its limit of {', '.join(hit)}" if hit else ""
    found = (run.language, ended, time, memory, limits, str(run.key), user)
    return [fact for fact in found if fact]


def files(run: Execution) -> dict[str, list[tuple[str, str]]]:
    written = run.files.order_by("name")[:LISTED_FILES]
    given = run.session.inputs.select_related("file").order_by("name")[:LISTED_FILES]
    return {
        "Files it wrote": [(link(file), size(file.size)) for file in written],
        "Files given to its session": [
            (link(entry.file, entry.name), size(entry.file.size)) for entry in given
        ],
    }


def entry_of(run: Execution) -> AuditEntry | None:
    return AuditEntry.objects.filter(kind=AuditEntry.Kind.EXECUTION, execution_id=run.pk).first()


@admin.register(Execution)
class ExecutionAdmin(RecordAdmin[Execution]):
    list_display = ("created_at", "outcome", "language", "beginning", "key", "user", "wall")
    list_select_related = ("key",)
    list_filter = (
        "status",
        LimitFilter,
        LanguageFilter,
        "container_source",
        "key",
        "key__issuer",
        UserFilter,
        ("created_at", DayRangeFilter),
    )
    search_fields = (*LARGE, "user_id", "files__name", "id", "session__id")
    search_help_text = "In code, output, file names and user; or a whole id"
    change_form_before_template = "audit/execution.html"
    fieldsets = (
        (
            "Outcome",
            {
                "fields": (
                    ("outcome", "explanation"),
                    ("exit_code", "signal"),
                    ("wall", "cpu"),
                    ("memory", "written"),
                    "limits",
                    "steps",
                )
            },
        ),
        (
            "Who and where",
            {
                "fields": (
                    ("key", "user"),
                    ("entity", "client_address"),
                    ("session_link", "container_link"),
                    ("container_source", "queued_at"),
                    ("created_at", "ended_at"),
                    ("id", "arguments"),
                )
            },
        ),
        (
            "Audit chain",
            {
                "description": "manage.py verifyaudit checks that this execution and all before it "
                "are as they were when they were linked.",
                "fields": ("chain_entry", "chain_hash"),
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Execution]:
        rows = super().get_queryset(request)
        return rows.defer(*LARGE).annotate(code_start=Left("code", LISTED_CODE))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Execution], search_term: str
    ) -> tuple[QuerySet[Execution], bool]:
        """The words as one phrase, as they stand in code, and no join: one row a run."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if is_id(term):
            # Asked first, so that what is left are equalities that indexes answer.
            writers = SandboxFile.objects.filter(pk=term).values_list("execution_id", flat=True)
            by_id = queryset.filter(
                Q(pk__in=[term, *writers]) | Q(session_id=term) | Q(container_id=term)
            )
            if by_id.exists():
                return by_id, False
        written = SandboxFile.objects.filter(execution=OuterRef("pk"), name__icontains=term)
        given = SandboxInput.objects.filter(session=OuterRef("session_id"), name__icontains=term)
        found = Q(user_id__icontains=term) | Exists(written) | Exists(given)
        for column in LARGE:
            found |= Q(**{f"{column}__icontains": term})
        return queryset.filter(found), False

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Execution | None = None,
    ) -> HttpResponse:
        if obj is not None:
            context |= {
                "show_history": False,
                "badge": outcome(obj),
                "facts": facts(obj),
                "files": files(obj),
            }
        return super().render_change_form(request, context, add, change, form_url, obj)

    user, entity, explanation = shown("user_id"), shown("entity_id"), shown("message")

    @admin.display(description="outcome")
    def outcome(self, run: Execution) -> str:
        return outcome(run)

    @admin.display(description="code")
    def beginning(self, run: Execution) -> str:
        if run.code_record != Execution.Record.STORED:
            return run.get_code_record_display().partition(",")[0]
        lines = getattr(run, "code_start", "").strip().splitlines()
        line = visible(lines[0]) if lines else "-"
        return line if len(line) <= 80 else f"{line[:80]}…"

    @admin.display(description="time")
    def wall(self, run: Execution) -> str:
        return duration(run.wall_ms)

    @admin.display(description="CPU time")
    def cpu(self, run: Execution) -> str:
        return duration(run.cpu_ms)

    @admin.display(description="peak memory")
    def memory(self, run: Execution) -> str:
        return size(run.memory_bytes)

    @admin.display(description="output written")
    def written(self, run: Execution) -> str:
        return f"{size(run.stdout_bytes)} and {size(run.stderr_bytes)} of errors"

    @admin.display(description="limits that it hit")
    def limits(self, run: Execution) -> str:
        return ", ".join(limits_hit(run)) or "-"

    @admin.display(description="steps")
    def steps(self, run: Execution) -> str:
        taken = [(step, run.step_ms[step]) for step in STEPS if step in run.step_ms]
        return ", ".join(f"{step} {duration(ms)}" for step, ms in taken) or "-"

    @admin.display(description="arguments")
    def arguments(self, run: Execution) -> str:
        if run.code_record != Execution.Record.STORED:
            return run.get_code_record_display()
        return visible(shlex.join(map(str, run.args))) or "-"

    @admin.display(description="entry")
    def chain_entry(self, run: Execution) -> str:
        entry = entry_of(run)
        return str(entry.number) if entry else "not linked yet"

    @admin.display(description="hash")
    def chain_hash(self, run: Execution) -> str:
        entry = entry_of(run)
        return entry.hash if entry else "-"

    @admin.display(description="session")
    def session_link(self, run: Execution) -> str:
        return link(run.session)

    @admin.display(description="container")
    def container_link(self, run: Execution) -> str:
        return link(run.container)
