"""Who did what in the admin, as Django notes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth import get_permission_codename
from django.contrib.contenttypes.models import ContentType

from audit.admin.records import DayRangeFilter, RecordAdmin
from keys.admin.theme import label
from keys.visible import visible

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest

KINDS = {ADDITION: "success", CHANGE: "info", DELETION: "danger"}


@admin.register(LogEntry)
class LogEntryAdmin(RecordAdmin[LogEntry]):
    list_display = ("action_time", "user", "kind", "table", "what", "how")
    list_display_links = None
    list_select_related = ("user", "content_type")
    list_filter = ("user", "action_flag", ("action_time", DayRangeFilter))
    search_fields = ("object_repr", "=object_id")
    search_help_text = "A name, or a whole id"
    sortable_by = ("action_time",)
    fieldsets = (
        (
            None,
            {"fields": (("action_time", "user"), ("kind", "table"), "what", "how", "object_id")},
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[LogEntry]:
        """Of what one may see oneself: the names of files and sessions are in it."""
        kinds = ContentType.objects.get_for_models(*apps.get_models())
        may = request.user.has_perm
        seen = [
            kind.pk
            for model, kind in kinds.items()
            if may(f"{model._meta.app_label}.{get_permission_codename('view', model._meta)}")
        ]
        entries = super().get_queryset(request).filter(content_type__in=seen)
        return entries.order_by("-action_time", "-pk")

    @admin.display(description="action")
    def kind(self, entry: LogEntry) -> str:
        return label(entry.get_action_flag_display(), KINDS.get(entry.action_flag))

    @admin.display(description="of")
    def table(self, entry: LogEntry) -> str:
        return str(entry.content_type.name) if entry.content_type else "-"

    @admin.display(description="name")
    def what(self, entry: LogEntry) -> str:
        return visible(entry.object_repr) or "-"

    @admin.display(description="what was done")
    def how(self, entry: LogEntry) -> str:
        return visible(entry.get_change_message()) or "-"
