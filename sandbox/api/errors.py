"""Every error of the API as JSON: one shape, fixed texts, nothing of the inside."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, JsonResponse, UnreadablePostError
from django.http.response import HttpResponseBase
from django.views import defaults
from rest_framework import exceptions
from rest_framework.response import Response

from sandbox.errors import (
    AtCapacity,
    ContainerLost,
    EngineUnavailable,
    FileTooLarge,
    ImageMissing,
    LeaseLost,
    QuotaExceeded,
    RunnerMismatch,
    SandboxError,
    SandboxFileNotFound,
    SessionNotFound,
    StorageQuotaExceeded,
    StoreUnavailable,
    WorkspaceFull,
)

logger = logging.getLogger(__name__)

NO_ENGINE = "Sandbox engine unavailable"
# The first class that fits an exception decides.
ANSWERS: tuple[tuple[type[Exception], int, dict[str, str]], ...] = (
    (SessionNotFound, 404, {"error": "Session not found"}),
    (
        SandboxFileNotFound,
        404,
        {
            "error": "File not found",
            "details": "The file may have expired or does not exist",
        },
    ),
    (FileTooLarge, 413, {"error": "File size limit exceeded"}),
    (WorkspaceFull, 413, {"error": "The files do not fit into the sandbox"}),
    # No 429: to wait some seconds, as a client then does, frees nothing.
    (StorageQuotaExceeded, 413, {"error": "Storage quota exceeded"}),
    (
        ImageMissing,
        503,
        {"error": NO_ENGINE, "message": "The sandbox image is missing. Run script/bootstrap."},
    ),
    (
        RunnerMismatch,
        503,
        {
            "error": NO_ENGINE,
            "message": "The sandbox image is outdated. Run script/bootstrap.",
        },
    ),
    (EngineUnavailable, 503, {"error": NO_ENGINE}),
    (ContainerLost, 503, {"error": "The sandbox was lost during the run"}),
    (LeaseLost, 503, {"error": "The session was taken over by another request"}),
    (StoreUnavailable, 503, {"error": "File store unavailable"}),
    (SandboxError, 503, {"error": "The sandbox failed"}),
    (OperationalError, 503, {"error": "Database unavailable"}),
    (InterfaceError, 503, {"error": "Database unavailable"}),
    (UnreadablePostError, 400, {"error": "The request body could not be read"}),
)
REFUSALS: tuple[tuple[type[exceptions.APIException], str], ...] = (
    (exceptions.ValidationError, "Invalid request"),
    (exceptions.ParseError, "Invalid request"),
    (exceptions.MethodNotAllowed, "Method not allowed"),
    (exceptions.UnsupportedMediaType, "Unsupported media type"),
)


class UnsupportedLanguage(exceptions.APIException):
    status_code = 400

    def __init__(self, language: str) -> None:
        super().__init__({"error": f"Unsupported language: {language[:64]}"})


class InvalidRequest(exceptions.APIException):
    """For the texts that LibreChat's official server gives."""

    status_code = 400

    def __init__(self, error: str) -> None:
        super().__init__({"error": error})


class BodyTooLarge(exceptions.APIException):
    status_code = 413

    def __init__(self) -> None:
        super().__init__({"error": "Request body too large"})


def handle(exception: Exception, context: Mapping[str, Any]) -> Response | None:
    """Django REST framework's hook. None leaves it to Django: status 500, and a traceback in
    the log."""
    if isinstance(exception, AtCapacity | QuotaExceeded):
        return too_many(str(exception), exception.retry_after_seconds)
    if isinstance(exception, exceptions.Throttled):
        return too_many(str(exception.detail), getattr(exception, "wait", None) or 1)
    if isinstance(exception, exceptions.APIException):
        return refusal(exception)
    for kind, status, body in ANSWERS:
        if isinstance(exception, kind):
            if status == 503:
                logger.error("%s: %s: %s", body["error"], kind.__name__, exception)
            if isinstance(exception, WorkspaceFull | StorageQuotaExceeded):
                body = body | {"message": str(exception)}
            return Response(body, status)
    return None


def too_many(message: str, wait: float) -> Response:
    seconds = max(1, math.ceil(wait))
    body = {"error": "rate_limited", "message": message, "retry_after_seconds": seconds}
    return Response(body, 429, headers={"Retry-After": str(seconds)})


def refusal(exception: exceptions.APIException) -> Response:
    detail = exception.detail
    error = next((text for kind, text in REFUSALS if isinstance(exception, kind)), None)
    if isinstance(detail, dict) and "error" in detail:
        body: dict[str, Any] = dict(detail)
    elif isinstance(exception, exceptions.ValidationError):
        body = {"error": error, "details": detail}
    elif error:
        body = {"error": error, "message": detail}
    else:
        body = {"error": detail}
    response = Response(body, exception.status_code)
    # REST framework sets it where the status is 401.
    if challenge := getattr(exception, "auth_header", None):
        response["WWW-Authenticate"] = challenge
    return response


def json_error(status: int, error: str) -> JsonResponse:
    return JsonResponse({"error": error}, status=status, headers={"Cache-Control": "no-store"})


def is_for_people(request: HttpRequest) -> bool:
    return request.path.startswith("/admin/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if is_for_people(request):
        return defaults.bad_request(request, exception)
    return json_error(400, "Bad request")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if is_for_people(request):
        return defaults.permission_denied(request, exception)
    return json_error(403, "Forbidden")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if is_for_people(request):
        return defaults.page_not_found(request, exception)
    return json_error(404, "Not found")


def server_error(request: HttpRequest) -> HttpResponseBase:
    if is_for_people(request):
        return defaults.server_error(request)
    return json_error(500, "Internal server error")
