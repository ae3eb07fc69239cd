from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from keys.authentication import APIRequest
from keys.models import KeyScope
from keys.permissions import InScope
from sandbox.calls import note_key
from sandbox.services import StepClock

PROFILES = ("default", "stateful")


class JSONWhateverIsAccepted(DefaultContentNegotiation):
    """A download asks for any type, and its errors are JSON all the same."""

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type


class SandboxView(APIView):
    scope: ClassVar[KeyScope]
    permission_classes: Sequence[type[BasePermission]] = (IsAuthenticated, InScope)
    request: APIRequest
    clock: StepClock
    content_negotiation_class = JSONWhateverIsAccepted
    # OPTIONS is answered like any method that is not there.
    metadata_class = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.clock = StepClock()
        super().initial(request, *args, **kwargs)
        note_key(self.request.auth)
        self.clock.lap("auth")
        coding = request.headers.get("Content-Encoding", "identity").lower()
        if coding not in ("", "identity"):
            # What unpacks to any size must not come in at all.
            raise UnsupportedMediaType(coding, "Send the body without Content-Encoding.")

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        # Both profiles are served, so whatever LibreChat expects is so.
        profile = request.headers.get("X-CodeAPI-Expected-Profile", "").lower()
        if profile in PROFILES:
            response["X-CodeAPI-Execution-Profile"] = profile
        return response
