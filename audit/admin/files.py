from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.utils import timezone

from audit.admin.records import DayRangeFilter, RecordAdmin, RecordInline, link, shown, size
from audit.models import SandboxFile, SandboxInput
from keys.admin.theme import label
from keys.visible import visible

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest

STATES = {"current": "success", "superseded": "info", "gone": "warning", "deleted": "danger"}


def state(file: SandboxFile) -> str:
    if file.deleted_at is not None:
        return "deleted"
    if file.session.ended_at is not None or file.session.expires_at <= timezone.now():
        return "gone"
    return "superseded" if file.superseded_at is not None else "current"


class UsedByInline(RecordInline[SandboxInput, SandboxFile]):
    model = SandboxInput
    fk_name = "file"
    verbose_name_plural = "Sessions that were given it"
    fields = ("session_link", "path")
    readonly_fields = fields

    path = shown("name")

    def get_queryset(self, request: HttpRequest) -> QuerySet[SandboxInput]:
        return super().get_queryset(request).select_related("session").order_by("-pk")

    @admin.display(description="session")
    def session_link(self, entry: SandboxInput) -> str:
        return link(entry.session)


@admin.register(SandboxFile)
class SandboxFileAdmin(RecordAdmin[SandboxFile]):
    """What is known about a file. Its bytes are its owner's and not for this page."""

    list_display = ("path", "state", "human_size", "media_type", "session_link", "created_at")
    list_select_related = ("session",)
    list_filter = ("read_only", ("created_at", DayRangeFilter))
    linked_lookups = ("deleted_at__isnull",)
    search_fields = ("name", "=id", "=session__id", "=sha256")
    search_help_text = "A name, a whole id or a whole SHA-256"
    inlines = (UsedByInline,)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("path", "state"),
                    ("human_size", "media_type"),
                    ("read_only", "executable"),
                    "sha256",
                )
            },
        ),
        (
            "Where from",
            {
                "fields": (
                    ("session_link", "execution_link"),
                    ("created_at", "superseded_at"),
                    ("deleted_at", "id"),
                )
            },
        ),
    )

    media_type = shown("content_type")

    @admin.display(description="name")
    def path(self, file: SandboxFile) -> str:
        return visible(file.name)

    @admin.display(description="state")
    def state(self, file: SandboxFile) -> str:
        text = state(file)
        return label(text, STATES[text])

    @admin.display(description="size", ordering="size")
    def human_size(self, file: SandboxFile) -> str:
        return size(file.size)

    @admin.display(description="session")
    def session_link(self, file: SandboxFile) -> str:
        return link(file.session)

    @admin.display(description="written by")
    def execution_link(self, file: SandboxFile) -> str:
        return link(file.execution)
