from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from audit.admin.records import DayRangeFilter, RecordAdmin, link, shown
from audit.admin.seeing import scope
from audit.models import SandboxContainer
from keys.admin.theme import label
from keys.visible import visible

if TYPE_CHECKING:
    from django.http import HttpRequest

State = SandboxContainer.State
STATES = {
    State.STARTING: "info",
    State.WARM: "success",
    State.LEASED: "primary",
    State.IDLE: "warning",
}


def state(container: SandboxContainer) -> str:
    return label(container.get_state_display(), STATES.get(State(container.state)))


@admin.register(SandboxContainer)
class SandboxContainerAdmin(RecordAdmin[SandboxContainer]):
    list_display = (
        "name",
        "current_state",
        "session_link",
        "created_at",
        "last_used_at",
        "removed_at",
        "reason",
    )
    list_select_related = ("session",)
    list_filter = ("state", ("created_at", DayRangeFilter))
    search_fields = ("=id", "=session__id")
    search_help_text = "A whole id"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "current_state"),
                    ("session_link", "image"),
                    "limits",
                    ("created_at", "ready_at", "hot"),
                    ("last_used_at", "ended_at"),
                    ("removed_at", "reason"),
                )
            },
        ),
        ("Workspace after its last run", {"fields": ("files",)}),
    )

    reason = shown("end_reason")

    def get_fieldsets(self, request: HttpRequest, obj: SandboxContainer | None = None) -> Any:
        shown = super().get_fieldsets(request, obj)
        return shown if scope(request).files else shown[:1]

    @admin.display(description="state")
    def current_state(self, container: SandboxContainer) -> str:
        return state(container)

    @admin.display(description="files")
    def files(self, container: SandboxContainer) -> str:
        lines = [f"{digest}  {name}" for name, digest in sorted(container.manifest.items())]
        return visible("\n".join(lines)) or "-"

    @admin.display(description="session")
    def session_link(self, container: SandboxContainer) -> str:
        return link(container.session)
