"""Headers, queries and paths."""

from __future__ import annotations

from typing import Final

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from sandbox.api.base import PROFILES
from sandbox.api.callers import KINDS
from sandbox.api.listings import DETAILS
from sandbox.api.openapi.fields import ID

HEADER: Final = "header"
PATH: Final = "path"
QUERY: Final = "query"

PROFILE = [
    OpenApiParameter(
        "X-CodeAPI-Expected-Profile",
        location=HEADER,
        enum=PROFILES,
        description="The service that LibreChat expects. Both are this one; others are ignored.",
    ),
    OpenApiParameter(
        "X-CodeAPI-Execution-Profile",
        location=HEADER,
        enum=PROFILES,
        response=[200],
        description="What was expected is what answers, whatever the status.",
    ),
]
FAILURE_HEADERS = [
    OpenApiParameter(
        "WWW-Authenticate", location=HEADER, response=[401], description="Always `ApiKey`."
    ),
    OpenApiParameter(
        "Retry-After",
        OpenApiTypes.INT,
        HEADER,
        response=[429],
        description="`retry_after_seconds` once more.",
    ),
]
USER = [
    OpenApiParameter(
        "User-Id",
        location=HEADER,
        description="The LibreChat user, within the key. A token's own user comes before it.",
    )
]
AGENT = [
    OpenApiParameter(
        "entity_id", location=QUERY, description="The agent, of old versions of LibreChat."
    )
]
SCOPE = [
    OpenApiParameter(
        "kind",
        location=QUERY,
        enum=KINDS,
        description=(
            "Whose the upload is. With it, another kind's is not found; without it, all that is "
            "the caller's is."
        ),
    ),
    OpenApiParameter(
        "id", location=QUERY, description="The agent's or the skill's. A user's is no proof."
    ),
    OpenApiParameter("version", OpenApiTypes.INT, QUERY, description="The skill's."),
]
DETAIL = [
    OpenApiParameter(
        "detail",
        location=QUERY,
        enum=list(DETAILS),
        default="simple",
        description="How much of each file. `full` lists the files that its runs used as well.",
    )
]
SESSION = [OpenApiParameter("session_id", ID, PATH)]
FILE_ID = [*SESSION, OpenApiParameter("file_id", ID, PATH)]
DOWNLOAD = [
    OpenApiParameter(
        "Content-Disposition",
        location=HEADER,
        response=[200],
        description="`attachment`, and its name, also as `filename*`.",
    ),
    OpenApiParameter("Content-Length", OpenApiTypes.INT, HEADER, response=[200]),
    OpenApiParameter(
        "X-Read-Only",
        location=HEADER,
        enum=["true"],
        response=[200],
        description="Of a file that was uploaded with `read_only`.",
    ),
]
