"""What runs now, and how to stop it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models.functions import Left
from django.http import HttpResponseNotAllowed, JsonResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from audit.models import Execution, LiveRun, SandboxContainer
from keys.visible import visible
from sandbox import operating
from sandbox.admin.access import READ_CODE, READ_OUTPUT, STOP, WATCH, page
from sandbox.services.progress import TAIL_BYTES

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.admin import ModelAdmin
    from django.http import HttpRequest, HttpResponse

LISTED = 50
CODE_LINES = 12
CODE_CHARACTERS = 1200
# The page has the end of the end that there is.
OUTPUT_CHARACTERS = 4000


@page(WATCH)
def live(request: HttpRequest) -> HttpResponse:
    context = admin.site.each_context(request) | {
        "title": "Live",
        "may_stop": request.user.has_perm(STOP),
    }
    return TemplateResponse(request, "sandbox/live.html", context)


@page(WATCH)
def runs(request: HttpRequest) -> JsonResponse:
    """For the page's script, each second."""
    running = (
        Execution.objects.running()
        .select_related("key", "session", "container", "live")
        .defer("code", "stdout", "stderr", "session__key", "container__manifest")
        .annotate(code_start=Left("code", CODE_CHARACTERS + 1))
        .order_by("created_at", "pk")
    )
    listed = list(running[: LISTED + 1])
    count = len(listed) if len(listed) <= LISTED else running.count()
    now = timezone.now()
    shown = [described(run, request, now) for run in listed[:LISTED]]
    return JsonResponse({"count": count, "runs": shown})


@page(STOP)
def stop(request: HttpRequest, execution_id: str) -> JsonResponse | HttpResponseNotAllowed:
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    run = Execution.objects.running().filter(pk=execution_id).first()
    if run is None:
        return JsonResponse({"stopping": False, "message": "It has ended already."})
    if operating.stop(run):
        log_stop(request, run)
    return JsonResponse({"stopping": True, "message": "It is being stopped."})


def log_stop(request: HttpRequest, run: Execution) -> None:
    log(request, run, "Stopped.")


def log(request: HttpRequest, row: Any, message: str) -> None:
    of_its_kind: ModelAdmin[Any] = admin.site.get_model_admin(type(row))
    of_its_kind.log_change(request, row, message)


def described(run: Execution, request: HttpRequest, now: datetime) -> dict[str, Any]:
    known: LiveRun | None = getattr(run, "live", None)
    is_stopping = known is not None and known.stop_requested_at is not None
    row: dict[str, Any] = {
        "id": run.pk,
        "seconds": max(0, round((now - run.created_at).total_seconds())),
        "key": str(run.key),
        "user": visible(run.user_id),
        "language": visible(run.language),
        "where": where(run, now),
        "stopping": is_stopping,
        "page": reverse("admin:audit_execution_change", args=(quote(run.pk),)),
    }
    if request.user.has_perm("audit.view_sandboxsession"):
        row["session"] = reverse("admin:audit_sandboxsession_change", args=(quote(run.session_id),))
    if request.user.has_perm(STOP):
        row["stop"] = reverse("live-stop", args=(run.pk,))
    if request.user.has_perm(READ_CODE):
        row["code"] = beginning(getattr(run, "code_start", ""))
    if request.user.has_perm(READ_OUTPUT):
        row["stdout"] = end(known.stdout, known.stdout_bytes) if known else ""
        row["stderr"] = end(known.stderr, known.stderr_bytes) if known else ""
    return row


def where(run: Execution, now: datetime) -> str:
    session, container = run.session, run.container
    if run.lease_token and not (
        session.lease_token == run.lease_token
        and session.lease_expires_at is not None
        and session.lease_expires_at > now
    ):
        return "its server has gone"
    if container is not None:
        is_new = run.container_source == Execution.Source.CREATED
        is_starting = is_new and container.ready_at is None
        has_gone = container.state == SandboxContainer.State.GONE
        return "its container has gone" if has_gone else "starting" if is_starting else "running"
    return "in line for its session" if run.queued_at is None else "in line for a container"


def beginning(code: str) -> str:
    lines = code[:CODE_CHARACTERS].lstrip("\r\n").splitlines()
    cut = len(lines) > CODE_LINES or len(code) > CODE_CHARACTERS
    return visible("\n".join([*islice(lines, CODE_LINES), *(["…"] if cut else [])]))


def end(text: str, written: int) -> str:
    """Of a stream, and that there was more before it if so."""
    kept = text[-OUTPUT_CHARACTERS:]
    cut = len(kept) < len(text) or written > TAIL_BYTES
    return f"…\n{visible(kept)}" if cut else visible(kept)
