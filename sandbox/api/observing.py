"""What is logged and counted of each request, around all that happens in it."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from audit.ids import is_id, new_id
from sandbox import metrics
from sandbox.api.middleware import FOR_BROWSERS
from sandbox.calls import Call, current

logger = logging.getLogger(__name__)

# What a proxy in front may call the request: harmless in a header, in a log and on a screen.
REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
PROBES = frozenset({"health", "health/ready"})


class ObserveCalls:
    """Gives each request its id, which is in its answer and in all that is logged meanwhile; and
    when it has been answered, but for the sending, counts it and logs it in one line."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        call = Call(given if REQUEST_ID.fullmatch(given) else new_id())
        token = current.set(call)
        try:
            response = self.get_response(request)
            response.headers["X-Request-Id"] = call.id
            note(call, request, response, time.perf_counter() - began)
            return response
        finally:
            current.reset(token)


def note(call: Call, request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
    route = route_of(request)
    metrics.note_request(route, response.status_code, seconds)
    if call.execution is not None:
        metrics.note_run(call.execution)
    if FOR_BROWSERS.match(request.path_info):
        return
    level = logging.DEBUG if route in PROBES else logging.INFO
    if not logger.isEnabledFor(level):
        return
    match = request.resolver_match
    named = match.kwargs.get("session_id", "") if match else ""
    if not call.session and is_id(named):
        call.session = named
    fields: dict[str, Any] = {
        "method": request.method if request.method in METHODS else "other",
        "route": route,
        "status": response.status_code,
        "duration_ms": round(seconds * 1000, 1),
    }
    if call.execution is not None:
        fields["outcome"] = metrics.outcome(call.execution)
    logger.log(
        level,
        "%s %s %s",
        fields["method"],
        route,
        response.status_code,
        extra={"fields": fields},
    )


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def route_of(request: HttpRequest) -> str:
    """Never the address itself: strangers choose that, and there is no end of them."""
    if browsers := FOR_BROWSERS.match(request.path_info):
        return browsers[1]
    match = request.resolver_match
    return match.route if match else "unknown"
