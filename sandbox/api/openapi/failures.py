"""What the API answers where it cannot do what it was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework import serializers

from keys.authentication import INVALID, INVALID_TOKEN, MISSING, NOT_FROM_HERE, TOO_MANY
from sandbox.api.errors import ANSWERS
from sandbox.api.openapi.fields import DescribedField, ExactlyField
from sandbox.errors import SandboxFileNotFound, SessionNotFound

Examples = Iterable[Mapping[str, Any]]


class ErrorSerializer(serializers.Serializer[Any]):
    error = serializers.CharField(help_text="Short, and always the same for the same reason.")
    message = serializers.CharField(required=False, help_text="What to do about it.")


class InvalidRequestSerializer(ErrorSerializer):
    details = DescribedField(
        {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
        required=False,
        help_text="What is wrong with which field.",
    )


class NotFoundSerializer(ErrorSerializer):
    """Also what is another key's, or another user's."""

    details = serializers.CharField(required=False)


class RateLimitedSerializer(serializers.Serializer[Any]):
    error = ExactlyField("rate_limited")
    message = serializers.CharField()
    retry_after_seconds = serializers.IntegerField(min_value=1)


def response(
    serializer: type[serializers.BaseSerializer[Any]], description: str, examples: Examples
) -> OpenApiResponse:
    return OpenApiResponse(
        serializer,
        description,
        [OpenApiExample(str(body["error"]), dict(body), response_only=True) for body in examples],
    )


def told(*kinds: type[Exception]) -> Examples:
    """As the API tells them; of those that say the same, one."""
    bodies = {body["error"]: body for kind, _, body in reversed(ANSWERS) if kind in kinds}
    return bodies.values()


def unavailable(*kinds: type[Exception]) -> OpenApiResponse:
    description = "Something that this server needs is away. Try again later."
    return response(ErrorSerializer, description, told(*kinds))


def invalid(*examples: Mapping[str, Any]) -> OpenApiResponse:
    return response(InvalidRequestSerializer, "The request cannot be read as it is.", examples)


def too_large(*examples: Mapping[str, Any]) -> OpenApiResponse:
    return response(ErrorSerializer, "Larger than this server takes.", examples)


SCOPE = {
    "error": "Not in the scope of this key",
    "message": (
        "This needs the scope exec; the key or token has files. Scopes are set in the admin. "
        "LibreChat needs all."
    ),
}
BUSY = {
    "error": "rate_limited",
    "message": "All containers are busy",
    "retry_after_seconds": 5,
}
UNAUTHENTICATED = response(
    ErrorSerializer, "No key or token, or none that is valid.", [MISSING, INVALID, INVALID_TOKEN]
)
FORBIDDEN = response(ErrorSerializer, "A valid one that may not do this.", [NOT_FROM_HERE, SCOPE])
WRONG_TOO_OFTEN = response(
    RateLimitedSerializer,
    "Too many wrong keys. A right one is let in all the same.",
    [{"error": "rate_limited", "message": TOO_MANY, "retry_after_seconds": 42}],
)
QUOTA = {
    "error": "rate_limited",
    "message": "The quota of this user is used up: 20 runs per hour",
    "retry_after_seconds": 1200,
}
TOO_BUSY = response(
    RateLimitedSerializer,
    "All containers, or the session, are busy; a quota is used up; or too many wrong keys came.",
    [BUSY, QUOTA],
)
NOT_SUPPORTED_TYPE = response(
    ErrorSerializer,
    "Of a type, or with a Content-Encoding, that is not read here.",
    [
        {
            "error": "Unsupported media type",
            "message": 'Unsupported media type "text/plain" in request.',
        }
    ],
)
BROKEN = response(
    ErrorSerializer,
    "A fault of this server, which its log tells more of.",
    [{"error": "Internal server error"}],
)
SESSION_MISSING = response(
    NotFoundSerializer, "No such session, or not the caller's.", told(SessionNotFound)
)
FILE_MISSING = response(
    NotFoundSerializer, "No such file, or not the caller's.", told(SandboxFileNotFound)
)
