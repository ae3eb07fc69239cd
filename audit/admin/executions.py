from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.db.models.functions import Left
from django.http import Http404, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import path, reverse

from audit import search
from audit.admin.execution_filters import DurationFilter, LanguageFilter, LimitFilter
from audit.admin.execution_page import page
from audit.admin.export import FORMATS, exported
from audit.admin.outcomes import outcome
from audit.admin.records import (
    DayRangeFilter,
    RecordAdmin,
    UserFilter,
    duration,
    link,
    shown,
    size,
)
from audit.admin.searching import SearchedChangeList
from audit.admin.seeing import scope
from audit.ids import is_id
from audit.models import AuditEntry, Execution, LimitHit, SandboxFile
from keys.visible import visible

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase

# Up to a megabyte each: fetched for the one that is read, not for a list.
LARGE = ("code", "stdout", "stderr")
LISTED_CODE = 400


def limits_hit(run: Execution) -> list[str]:
    """In words, where the words are known: a row may be newer than this."""
    labels = dict(LimitHit.choices)
    return [str(labels.get(name, visible(name))) for name in run.limits_hit]


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


def without(fieldsets: Any, hidden: set[str]) -> list[Any]:
    kept = []
    for title, part in fieldsets:
        lines = [(line,) if isinstance(line, str) else line for line in part["fields"]]
        shown = [tuple(name for name in line if name not in hidden) for line in lines]
        kept.append((title, {**part, "fields": [line for line in shown if line]}))
    return kept


def entry_of(run: Execution) -> AuditEntry | None:
    return AuditEntry.objects.filter(kind=AuditEntry.Kind.EXECUTION, execution_id=run.pk).first()


@admin.register(Execution)
class ExecutionAdmin(RecordAdmin[Execution]):
    list_display = ("created_at", "outcome", "language", "beginning", "key", "user", "wall")
    list_before_template = "audit/executions.html"
    list_select_related = ("key",)
    list_filter = (
        "status",
        LimitFilter,
        LanguageFilter,
        DurationFilter,
        "container_source",
        "key",
        "key__issuer",
        UserFilter,
        ("created_at", DayRangeFilter),
    )
    linked_lookups = ("wall_ms__gte", "message__exact")
    # That there is a search; what it looks into is the role's to say.
    search_fields = ("id",)
    search_help_text = "Code, output, file names, user, or an id"
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
        rows = super().get_queryset(request).defer(*LARGE)
        if not scope(request).code:
            return rows
        return rows.annotate(code_start=Left("code", LISTED_CODE))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[SearchedChangeList]:
        return SearchedChangeList

    def get_list_display(self, request: HttpRequest) -> Any:
        shown = super().get_list_display(request)
        return [name for name in shown if name != "beginning" or scope(request).code]

    def get_fieldsets(self, request: HttpRequest, obj: Execution | None = None) -> Any:
        """Without what the role may not see, and without links to where it may not go."""
        may = request.user.has_perm
        needed = {
            "arguments": scope(request).code,
            "session_link": may("audit.view_sandboxsession"),
            "container_link": may("audit.view_sandboxcontainer"),
        }
        return without(self.fieldsets, {name for name, is_seen in needed.items() if not is_seen})

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
        return search.find(queryset, term, scope(request)), False

    def get_urls(self) -> list[Any]:
        export = self.admin_site.admin_view(self.export_view)
        return [
            path("export/<str:kind>/", export, name="audit_execution_export"),
            *super().get_urls(),
        ]

    def export_view(self, request: HttpRequest, kind: str) -> HttpResponseBase:
        """All that the list with the same query would show, however long it is. Where the list's
        search took too long, there is nothing to save."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if kind not in FORMATS:
            raise Http404
        try:
            changelist = cast("SearchedChangeList", self.get_changelist_instance(request))
        except IncorrectLookupParameters:
            return redirect("admin:audit_execution_changelist")
        if changelist.took_too_long:
            # The message is shown above the list, without the same search again.
            query = changelist.get_query_string(remove=[SEARCH_VAR])
            return redirect(reverse("admin:audit_execution_changelist") + query)
        return exported(request, changelist.queryset.defer(None), scope(request), kind)

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
                **page(request, obj),
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
