"""The API's description, for programs and for people. It is of every installation alike, and says
nothing of this one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from django.conf import settings
from django.http import Http404, HttpResponse
from django.shortcuts import render

from keys.authentication import APIRequest
from sandbox.api.base import SandboxView

DOCUMENT = Path(__file__).parent / "openapi" / "openapi.json"
# It shows strangers nothing but files of ours, and runs nothing else.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)


class Description(SandboxView):
    authentication_classes = ()
    permission_classes = ()
    # Not a part of what it describes.
    schema = None

    def initial(self, request: APIRequest, *args: object, **kwargs: object) -> None:  # type: ignore[override]
        if not settings.API_DOCS:
            raise Http404
        super().initial(request, *args, **kwargs)


class OpenAPI(Description):
    def get(self, request: APIRequest) -> HttpResponse:
        return HttpResponse(document(), content_type="application/json")


class Docs(Description):
    def get(self, request: APIRequest) -> HttpResponse:
        response = render(request._request, "sandbox/docs.html")
        response["Content-Security-Policy"] = POLICY
        return response


@cache
def document() -> bytes:
    """As `manage.py spectacular` has made it: to make it takes a second and megabytes."""
    return DOCUMENT.read_bytes()
