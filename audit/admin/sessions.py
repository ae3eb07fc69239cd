from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.utils import timezone

from audit.admin import containers
from audit.admin.executions import LARGE
from audit.admin.outcomes import outcome
from audit.admin.records import (
    DayRangeFilter,
    RecordAdmin,
    RecordInline,
    UserFilter,
    count,
    duration,
    link,
    shown,
    size,
)
from audit.models import Execution, SandboxContainer, SandboxFile, SandboxInput, SandboxSession
from keys.admin.theme import label

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest

STATES = {"in use": "primary", "live": "success", "expired": "warning"}


def state(session: SandboxSession) -> str:
    now = timezone.now()
    if session.ended_at is not None:
        return "ended"
    if session.expires_at <= now:
        return "expired"
    leased = session.lease_expires_at is not None and session.lease_expires_at > now
    return "in use" if leased else "live"


class ExecutionInline(RecordInline[Execution, SandboxSession]):
    model = Execution
    verbose_name_plural = "Runs"
    fields = ("run", "outcome", "language", "wall")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Execution]:
        return super().get_queryset(request).defer(*LARGE)

    @admin.display(description="run")
    def run(self, run: Execution) -> str:
        return link(run, f"{run.created_at:%Y-%m-%d %H:%M:%S}")

    @admin.display(description="outcome")
    def outcome(self, run: Execution) -> str:
        return outcome(run)

    @admin.display(description="time")
    def wall(self, run: Execution) -> str:
        return duration(run.wall_ms)


class FileInline(RecordInline[SandboxFile, SandboxSession]):
    model = SandboxFile
    verbose_name_plural = "Files"
    fields = ("file", "human_size", "created_at", "superseded_at", "deleted_at")
    readonly_fields = fields

    @admin.display(description="name")
    def file(self, file: SandboxFile) -> str:
        return link(file)

    @admin.display(description="size")
    def human_size(self, file: SandboxFile) -> str:
        return size(file.size)


class InputInline(RecordInline[SandboxInput, SandboxSession]):
    model = SandboxInput
    verbose_name_plural = "Files of other sessions given to it"
    fields = ("file_link", "owner")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[SandboxInput]:
        return super().get_queryset(request).select_related("file__session").order_by("name")

    @admin.display(description="name")
    def file_link(self, entry: SandboxInput) -> str:
        return link(entry.file, entry.name)

    @admin.display(description="of session")
    def owner(self, entry: SandboxInput) -> str:
        return link(entry.file.session)


class ContainerInline(RecordInline[SandboxContainer, SandboxSession]):
    model = SandboxContainer
    verbose_name_plural = "Containers"
    fields = ("container", "current_state", "created_at", "removed_at", "reason")
    readonly_fields = fields

    reason = shown("end_reason")

    @admin.display(description="name")
    def container(self, container: SandboxContainer) -> str:
        return link(container)

    @admin.display(description="state")
    def current_state(self, container: SandboxContainer) -> str:
        return containers.state(container)


@admin.register(SandboxSession)
class SandboxSessionAdmin(RecordAdmin[SandboxSession]):
    list_display = (
        "id",
        "state",
        "origin",
        "key",
        "user",
        "runs",
        "file_count",
        "created_at",
        "last_used_at",
        "expires_at",
    )
    list_select_related = ("key",)
    list_filter = (
        UserFilter,
        "origin",
        "kind",
        "key",
        "key__issuer",
        ("created_at", DayRangeFilter),
    )
    search_fields = ("=id", "=user_id", "=entity_id", "=resource_id", "=hint")
    search_help_text = "A whole session, user, entity or resource id, or a hint"
    inlines = (ExecutionInline, FileInline, InputInline, ContainerInline)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("id", "state"),
                    ("key", "origin"),
                    ("user", "entity"),
                    ("kind", "resource"),
                    ("version", "runtime_hint"),
                    ("created_at", "last_used_at"),
                    ("expires_at", "ended_at"),
                )
            },
        ),
    )

    user, entity = shown("user_id"), shown("entity_id")
    resource, runtime_hint = shown("resource_id"), shown("hint")

    def get_queryset(self, request: HttpRequest) -> QuerySet[SandboxSession]:
        return (
            super()
            .get_queryset(request)
            .annotate(
                run_count=count(Execution.objects.all(), "session"),
                live_file_count=count(SandboxFile.objects.filter(deleted_at=None), "session"),
            )
        )

    @admin.display(description="state")
    def state(self, session: SandboxSession) -> str:
        text = state(session)
        return label(text, STATES.get(text))

    @admin.display(description="runs")
    def runs(self, session: SandboxSession) -> int:
        return getattr(session, "run_count", None) or 0

    @admin.display(description="files")
    def file_count(self, session: SandboxSession) -> int:
        return getattr(session, "live_file_count", None) or 0
