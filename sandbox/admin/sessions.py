"""What can be done to a session, on its page and in the list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.db.models import Prefetch
from django.http import HttpResponseRedirect, StreamingHttpResponse
from django.urls import reverse
from django.utils.timesince import timesince
from unfold.enums import ActionVariant

from audit.admin import SandboxSessionAdmin, containers
from audit.admin.records import link
from audit.admin.seeing import may_download
from audit.models import Execution, SandboxContainer, SandboxSession
from keys.admin.theme import action
from keys.visible import visible
from sandbox import operating
from sandbox.admin.access import STOP
from sandbox.admin.confirming import Question
from sandbox.admin.live import log_stop
from sandbox.services.archiving import workspace_files, zipped

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase

CURRENT = (SandboxContainer.State.LEASED, SandboxContainer.State.IDLE)

admin.site.unregister(SandboxSession)


@admin.register(SandboxSession)
class SessionAdmin(SandboxSessionAdmin):
    actions = ("expire_selected",)
    actions_detail = ("stop_run", "download", "end_container", "expire_now")

    def get_fieldsets(self, request: HttpRequest, obj: SandboxSession | None = None) -> Any:
        fields = (("container_state", "container_link"), ("container_age", "container_limits"))
        return (*super().get_fieldsets(request, obj), ("Container", {"fields": fields}))

    def get_readonly_fields(self, request: HttpRequest, obj: SandboxSession | None = None) -> Any:
        mine = ("container_state", "container_link", "container_age", "container_limits")
        return (*super().get_readonly_fields(request, obj), *mine)

    def get_queryset(self, request: HttpRequest) -> QuerySet[SandboxSession]:
        current = SandboxContainer.objects.filter(state__in=CURRENT).defer("manifest")
        return (
            super()
            .get_queryset(request)
            .prefetch_related(Prefetch("containers", current, to_attr="current_containers"))
        )

    @admin.display(description="state")
    def container_state(self, session: SandboxSession) -> str:
        return shown_of(session, containers.state)

    @admin.display(description="name")
    def container_link(self, session: SandboxSession) -> str:
        return shown_of(session, link)

    @admin.display(description="age")
    def container_age(self, session: SandboxSession) -> str:
        return shown_of(session, lambda container: timesince(container.created_at))

    @admin.display(description="limits")
    def container_limits(self, session: SandboxSession) -> str:
        return shown_of(session, lambda container: visible(container.limits.replace(" ", ", ")))

    def has_stop_run_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        running = Execution.objects.running()
        is_running = not object_id or running.filter(session=unquote(object_id)).exists()
        return is_running and request.user.has_perm(STOP)

    def has_expire_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        sessions = SandboxSession.objects.live()
        is_live = not object_id or sessions.filter(pk=unquote(object_id)).exists()
        return is_live and request.user.has_perm("audit.change_sandboxsession")

    def has_end_container_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        container = container_of(unquote(object_id)) if object_id else None
        is_removable = container is not None and container.state in operating.REMOVABLE
        return is_removable and request.user.has_perm("audit.change_sandboxcontainer")

    def has_download_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        sessions = SandboxSession.objects.live()
        is_live = not object_id or sessions.filter(pk=unquote(object_id)).exists()
        return is_live and may_download(request)

    @action(
        description="Stop its run",
        permissions=("stop_run",),
        icon="stop_circle",
        variant=ActionVariant.DANGER,
    )
    def stop_run(self, request: HttpRequest, object_id: str) -> HttpResponse:
        session = SandboxSession.objects.get(pk=unquote(object_id))
        question = Question(
            title="Stop what runs in it?",
            consequence="The program is killed, and its user is told that an operator has stopped "
            "it. What it has printed and written so far is kept. Runs that wait for their turn in "
            "this session are stopped as well.",
            button="Stop",
            rows=[session],
            back=page_of(session),
        )
        if not question.is_confirmed(request):
            return question.ask(request)
        stopping = operating.stop_runs_of([session.pk])
        for run in stopping:
            log_stop(request, run)
        done = "Being stopped." if stopping else "It is being stopped already, or has ended."
        self.message_user(request, done, messages.SUCCESS)
        return HttpResponseRedirect(page_of(session))

    @action(
        description="Download files",
        permissions=("download",),
        icon="download",
        variant=ActionVariant.DEFAULT,
    )
    def download(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        session = SandboxSession.objects.get(pk=unquote(object_id))
        files = workspace_files(session)
        self.log_change(request, session, f"Downloaded {len(files)} files.")
        return StreamingHttpResponse(
            zipped(files),
            content_type="application/zip",
            headers={
                "Content-Disposition": f'attachment; filename="{session.pk}.zip"',
                "X-Content-Type-Options": "nosniff",
            },
        )

    @action(
        description="End its container",
        permissions=("end_container",),
        icon="delete",
        variant=ActionVariant.DEFAULT,
    )
    def end_container(self, request: HttpRequest, object_id: str) -> HttpResponse:
        session = SandboxSession.objects.get(pk=unquote(object_id))
        question = Question(
            title="End its container?",
            consequence="Its files stay: they are in the file store, and the session's next run "
            "gets another container with them. What is in /tmp goes.",
            button="End it",
            rows=[session],
            back=page_of(session),
        )
        if not question.is_confirmed(request):
            return question.ask(request)
        container = container_of(session.pk)
        if container and operating.remove_container(container):
            self.log_change(request, session, f"Ended its container {container}.")
            self.message_user(request, f"{container} is removed.", messages.SUCCESS)
        else:
            self.message_user(request, "A run has just taken it.", messages.WARNING)
        return HttpResponseRedirect(page_of(session))

    @action(
        description="Expire now",
        permissions=("expire",),
        icon="event_busy",
        variant=ActionVariant.DANGER,
    )
    def expire_now(self, request: HttpRequest, object_id: str) -> HttpResponse:
        session = SandboxSession.objects.get(pk=unquote(object_id))
        asked = self.confirm_and_expire(request, [session], page_of(session))
        return asked or HttpResponseRedirect(page_of(session))

    @admin.action(description="Expire the selected sessions now", permissions=("expire",))
    def expire_selected(
        self, request: HttpRequest, queryset: QuerySet[SandboxSession]
    ) -> HttpResponse | None:
        chosen = list(queryset.values_list("pk", flat=True))
        live = SandboxSession.objects.live().filter(pk__in=chosen)
        back = reverse("admin:audit_sandboxsession_changelist")
        return self.confirm_and_expire(request, list(live), back, action="expire_selected")

    def confirm_and_expire(
        self, request: HttpRequest, sessions: list[SandboxSession], back: str, action: str = ""
    ) -> HttpResponse | None:
        """None when it is done."""
        if not sessions:
            self.message_user(request, "None of these is live.", messages.WARNING)
            return None
        question = Question(
            title="Expire now?",
            consequence="Files and containers go, and there is no way back; the audit log stays. "
            "What runs in them is stopped first. LibreChat uploads what it still needs again.",
            button="Expire",
            rows=sessions,
            back=back,
            action=action,
        )
        if not question.is_confirmed(request):
            return question.ask(request)
        expired = operating.expire([session.pk for session in sessions])
        for session in sessions:
            self.log_change(request, session, "Expired.")
        self.message_user(request, summary(expired), messages.SUCCESS)
        return None


def summary(expired: operating.Expired) -> str:
    parts = [f"{expired.ended} expired"]
    if expired.stopping:
        parts.append(f"{expired.stopping} will when their runs have stopped")
    return "; ".join(parts) + "."


def shown_of(session: SandboxSession, show: Callable[[SandboxContainer], str]) -> str:
    """Of its container; there is at most one."""
    current: list[SandboxContainer] = getattr(session, "current_containers", [])
    return show(current[0]) if current else "-"


def container_of(session_id: str) -> SandboxContainer | None:
    """The one that it has now."""
    return SandboxContainer.objects.filter(session=session_id, state__in=CURRENT).first()


def page_of(session: SandboxSession) -> str:
    return reverse("admin:audit_sandboxsession_change", args=(quote(session.pk),))
