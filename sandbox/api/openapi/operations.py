"""What each view does, in OpenAPI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import OperationalError
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
)

from sandbox.api.openapi import answers, examples, failures, forms, parameters
from sandbox.api.serializers import ExecSerializer
from sandbox.errors import (
    ContainerLost,
    EngineUnavailable,
    LeaseLost,
    SandboxError,
    StoreUnavailable,
)

Operation = Any
FORM = "multipart/form-data"


# Called by a name that is none of ALLOWED_HOSTS.
BAD_REQUEST = {"error": "Bad request"}


def operation(
    name: str,
    summary: str,
    description: str,
    *,
    tag: str,
    responses: Mapping[Any, Any],
    takes: Sequence[OpenApiParameter] = (),
    request: Any = None,
    shown: Sequence[OpenApiExample] = (),
) -> Operation:
    """With what every call that needs a key may be answered."""
    every = {
        400: failures.invalid(BAD_REQUEST),
        401: failures.UNAUTHENTICATED,
        403: failures.FORBIDDEN,
        415: failures.NOT_SUPPORTED_TYPE,
        429: failures.WRONG_TOO_OFTEN,
        500: failures.BROKEN,
        503: failures.unavailable(OperationalError),
    } | dict(responses)
    return extend_schema(
        operation_id=name,
        summary=summary,
        description=description,
        tags=[tag],
        request=request,
        parameters=[
            *takes,
            *parameters.USER,
            *parameters.PROFILE,
            *parameters.FAILURE_HEADERS,
        ],
        examples=list(shown),
        responses=dict(sorted(every.items())),
    )


def ok(serializer: Any, description: str) -> OpenApiResponse:
    return OpenApiResponse(serializer, description)


NO_KIND = {"error": "kind must be one of: skill, agent, user"}
NO_FILES = {"error": "No files provided"}
BROKEN_FORM = {
    "error": "Invalid request",
    "message": "The body is not valid multipart/form-data: ended early.",
}
STORED_TOO_MUCH = {
    "error": "Storage quota exceeded",
    "message": "The quota of this key is used up: 100 MB in the store",
}
FILE_TOO_LARGE = {"error": "File size limit exceeded"}
STORE = failures.unavailable(OperationalError, StoreUnavailable)

HEALTH = extend_schema(
    operation_id="health",
    summary="Is it there",
    description="Says that the process answers, and nothing of what it needs. Needs no key.",
    tags=["Health"],
    parameters=parameters.PROFILE,
    responses={
        200: ok(answers.HealthSerializer, "It is."),
        400: failures.invalid(BAD_REQUEST),
        415: failures.NOT_SUPPORTED_TYPE,
        500: failures.BROKEN,
    },
    examples=[examples.answered("Healthy", {"status": "ok"})],
)
READY = extend_schema(
    operation_id="ready",
    summary="Can it run programs",
    description="Asks all that a run needs, and whether the last small program of the server's own "
    "has run. An answer is some seconds old at most. Needs no key; what exactly is wrong is in the "
    "server's log.",
    tags=["Health"],
    parameters=parameters.PROFILE,
    responses={
        200: ok(answers.ReadinessSerializer, "It can."),
        400: failures.invalid(BAD_REQUEST),
        415: failures.NOT_SUPPORTED_TYPE,
        500: failures.BROKEN,
        503: ok(answers.ReadinessSerializer, "It cannot, or is about to end."),
    },
    examples=[
        examples.answered("Ready", {"status": "ready", "parts": {"database": "ok", "run": "ok"}}),
        OpenApiExample(
            "Not ready",
            {"status": "not ready", "parts": {"database": "ok", "engine": "failing"}},
            response_only=True,
            status_codes=["503"],
        ),
    ],
)
RUN = operation(
    "run",
    "Run a program",
    "In a workspace of its own, `/mnt/data`: filled from `files`, or that of an earlier run. What "
    "the program leaves there is kept and can be downloaded. A program that fails, runs for too "
    "long or needs too much memory is an answer with status 200; its `stderr` says what happened.",
    tag="Programs",
    takes=parameters.AGENT,
    request=ExecSerializer,
    shown=examples.RUN,
    responses={
        200: ok(answers.RunSerializer, "It has run."),
        400: failures.invalid(
            {"error": "Invalid request", "details": {"code": ["This field is required."]}},
            {"error": "Unsupported language: rust"},
        ),
        413: failures.too_large({"error": "Request body too large"}),
        429: failures.TOO_BUSY,
        503: failures.unavailable(
            EngineUnavailable,
            ContainerLost,
            LeaseLost,
            StoreUnavailable,
            SandboxError,
            OperationalError,
        ),
    },
)
PROGRAMMATIC = operation(
    "runProgrammatic",
    "Run a program that calls tools",
    "Not supported by this version; LibreChat then does without.",
    tag="Programs",
    responses={
        501: failures.response(
            failures.ErrorSerializer,
            "Always.",
            [{"error": "Programmatic tool calling is not supported by this server version"}],
        )
    },
)
CANCEL = operation(
    "cancelProgrammatic",
    "Cancel a program that calls tools",
    "There is none.",
    tag="Programs",
    responses={
        404: failures.response(
            failures.NotFoundSerializer, "Always.", [{"error": "No such programmatic request"}]
        )
    },
)
UPLOAD = operation(
    "upload",
    "Upload files",
    "As one new session, all or none of them.",
    tag="Files",
    takes=parameters.AGENT,
    request={FORM: forms.UploadFormSerializer},
    shown=examples.UPLOADED,
    responses={
        200: ok(answers.UploadedSerializer, "Kept."),
        400: failures.invalid(NO_FILES, NO_KIND, BROKEN_FORM),
        413: failures.too_large(FILE_TOO_LARGE, STORED_TOO_MUCH),
        503: STORE,
    },
)
UPLOAD_BATCH = operation(
    "uploadBatch",
    "Upload files, each for itself",
    "As one new session. One that is too large does not keep the others out; of more than 200 the "
    "first 200 are read.",
    tag="Files",
    takes=parameters.AGENT,
    request={FORM: forms.BatchFormSerializer},
    shown=examples.BATCH_UPLOADED,
    responses={
        200: ok(answers.BatchUploadedSerializer, "Kept, or a part of them."),
        400: OpenApiResponse(
            PolymorphicProxySerializer(
                component_name="BatchFailure",
                serializers=[answers.BatchRefusedSerializer, failures.InvalidRequestSerializer],
                resource_type_field_name=None,
            ),
            "All of them are too large, or the request cannot be read as it is.",
            [
                OpenApiExample(str(body["error"]), dict(body), response_only=True)
                for body in (examples.BATCH_REFUSED, NO_FILES, NO_KIND, BROKEN_FORM)
            ],
        ),
        413: failures.too_large(STORED_TOO_MUCH),
        503: STORE,
    },
)
DOWNLOAD = operation(
    "download",
    "Download a file",
    "Its bytes. A type that a browser could run is not told. `HEAD` answers the headers alone.",
    tag="Files",
    takes=[*parameters.FILE_ID, *parameters.SCOPE, *parameters.DOWNLOAD],
    responses={
        200: ok(OpenApiTypes.BINARY, "The bytes."),
        400: failures.invalid(NO_KIND),
        404: failures.FILE_MISSING,
        503: STORE,
    },
)
LIST = operation(
    "listFiles",
    "List a session's files",
    "What its next run would find.",
    tag="Files",
    takes=[*parameters.SESSION, *parameters.DETAIL, *parameters.SCOPE],
    shown=examples.LISTINGS,
    responses={
        200: ok(
            answers.ListingSerializer,
            "Its files.",
        ),
        400: failures.invalid(NO_KIND),
        404: failures.SESSION_MISSING,
    },
)
METADATA = operation(
    "getFile",
    "Look at a file",
    "Its metadata, not its bytes.",
    tag="Files",
    takes=[*parameters.FILE_ID, *parameters.SCOPE],
    shown=examples.METADATA,
    responses={
        200: ok(answers.MetadataSerializer, "Its metadata."),
        400: failures.invalid(NO_KIND),
        404: failures.FILE_MISSING,
    },
)


def deletion(name: str, description: str) -> Operation:
    return operation(
        name,
        "Delete a file",
        description,
        tag="Files",
        takes=[*parameters.FILE_ID, *parameters.SCOPE],
        shown=examples.DELETED,
        responses={
            200: ok(answers.DeletedSerializer, "It is gone."),
            400: failures.invalid(NO_KIND),
            404: failures.FILE_MISSING,
            503: STORE,
        },
    )
