"""A page to run a program as LibreChat would, and to see what LibreChat would get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.core import signing
from django.http import Http404
from django.template.response import TemplateResponse
from django.urls import reverse
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.response import Response

from audit.models import Execution, SandboxFile
from audit.steps import STEPS
from keys.models import APIKey, KeyScope
from keys.permissions import NotInScope
from sandbox import services
from sandbox.admin import shown
from sandbox.admin.access import PLAY, page
from sandbox.admin.live import log
from sandbox.api import callers, downloads, uploads, wire
from sandbox.api.base import SandboxView
from sandbox.api.connection import client_gone
from sandbox.api.errors import InvalidRequest
from sandbox.api.parsers import BoundedJSONParser
from sandbox.api.serializers import ExecSerializer
from sandbox.api.text import label
from sandbox.api.wire import LANGUAGE
from sandbox.errors import FileTooLarge, SandboxFileNotFound
from sandbox.store import IncomingFile

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase
    from rest_framework.request import Request

CHUNK = 256 * 1024
LINK_SECONDS = 24 * 3600
EXAMPLE = 'print("Hello from the playground")\n'


@page(PLAY)
def playground(request: HttpRequest) -> HttpResponse:
    context = admin.site.each_context(request) | {
        "title": "Playground",
        "keys": APIKey.objects.of_callers().usable().select_related("issuer"),
        "languages": LANGUAGE,
        "example": EXAMPLE,
        "seconds": settings.SANDBOX_RUN_SECONDS,
        "upload_mb": settings.SANDBOX_UPLOAD_MB,
    }
    return TemplateResponse(request, "sandbox/playground.html", context)


@page(PLAY)
def download(request: HttpRequest, token: str) -> HttpResponseBase:
    """A file that this page has shown to this person. No other can be asked for here."""
    try:
        file_id = signing.loads(token, salt=salt(request), max_age=LINK_SECONDS)
    except signing.BadSignature as error:
        raise Http404("The link is not valid any more") from error
    file = SandboxFile.objects.live().filter(pk=file_id).first()
    if file is None:
        raise Http404("The file has gone")
    try:
        response = downloads.download(file)
    except SandboxFileNotFound as error:
        raise Http404("The file store has lost the file") from error
    log(request, file, "Downloaded from the playground.")
    return response


def salt(request: HttpRequest) -> str:
    return f"playground file of {request.user.pk}"


class MayPlay(BasePermission):
    def has_permission(self, request: Request, view: Any) -> bool:
        # Nobody is None here.
        user: Any = request.user
        return user is not None and user.is_staff and user.has_perm(PLAY)


@dataclass(frozen=True, slots=True)
class Player:
    """Somebody in the admin who acts for a key and one of its users."""

    key: APIKey
    user_id: str

    @classmethod
    def named(cls, values: Any) -> Player:
        key_id = str(values.get("key") or "")
        usable = APIKey.objects.of_callers().usable().select_related("issuer")
        key = usable.filter(pk=int(key_id)).first() if key_id.isdecimal() else None
        if key is None:
            raise InvalidRequest("Choose a key that can be used")
        user_id = label(values.get("user"))
        if key.kind == "tenant" and not user_id:
            # Without one, all that the tenant's users have would be one's own; no token says so.
            raise InvalidRequest("Name a user: each call of this tenant's is one user's")
        return cls(key, user_id)

    def check_scope(self, scope: KeyScope) -> None:
        if scope not in self.key.credential.scopes:
            raise NotInScope(scope, self.key.credential.scopes)

    def __str__(self) -> str:
        return f"the key {self.key} and {f'user {self.user_id}' if self.user_id else 'no user'}"

    def caller(self, request: Any) -> services.Caller:
        return services.Caller(
            key=self.key,
            user_id=self.user_id,
            # A tenant's calls come with a token, which proves the user that it names.
            user_is_proven=self.key.kind == "tenant" and self.user_id != "",
            address=callers.address(request),
        )


class PlaygroundView(SandboxView):
    """The API's own way of reading, refusing and answering, for somebody who is logged in.
    Whatever the API would have answered is under `answer`, an error as well."""

    authentication_classes = (SessionAuthentication,)
    permission_classes = (MayPlay,)
    # It is no part of the API.
    schema = None

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        if "answer" not in response.data:
            beside = shown.beside(response.status_code, response.data)
            response.data = {"answer": response.data, "shown": "", "beside": beside}
        return super().finalize_response(request, response, *args, **kwargs)


class Run(PlaygroundView):
    parser_classes = (BoundedJSONParser,)

    def post(self, request: Any) -> Response:
        asked = request.data if isinstance(request.data, dict) else {}
        player = Player.named(asked)
        player.check_scope(KeyScope.EXEC)
        serializer = ExecSerializer(data=asked.get("request"))
        serializer.is_valid(raise_exception=True)
        run_request = serializer.run_request()
        self.clock.lap("parse")
        caller = player.caller(request)
        gone = client_gone(request._request.META)
        # Before it begins: whatever becomes of it, somebody is to have started it.
        log(request, player.key, f"Runs a program in the playground, with {player}.")
        outcome = services.execute(caller, run_request, clock=self.clock, abandoned=gone)
        log(request, outcome.execution, f"Run in the playground, with {player}.")
        answer = wire.outcome(outcome, run_request)
        links = {
            file["id"]: reverse(
                "playground-download", args=(signing.dumps(file["id"], salt=salt(request)),)
            )
            for file in answer["files"]
        }
        return Response(
            {
                "answer": answer,
                "shown": shown.to_model(answer),
                "beside": shown.beside(200, answer),
                "steps": steps(outcome.execution),
                "links": links,
                "execution": page_of("execution", outcome.execution.pk),
                "session": page_of("sandboxsession", outcome.session.pk),
            }
        )


class Files(PlaygroundView):
    """One file as the whole body: a form would be read before it is known who sends it."""

    parser_classes = ()

    def put(self, request: Any) -> Response:
        player = Player.named(request.query_params)
        player.check_scope(KeyScope.FILES)
        name = request.query_params.get("name", "")
        arrival = uploads.Arrival(name, request.headers.get("Content-Type", ""), IncomingFile())
        try:
            receive(request._request, arrival.file)
            result = services.upload(
                player.caller(request), [arrival.incoming()], scope=services.NO_SCOPE
            )
        except BaseException:
            arrival.file.discard()
            raise
        [kept] = result.files
        log(request, kept, f"Uploaded in the playground, with {player}.")
        ref = {"id": kept.pk, "name": kept.name, "storage_session_id": kept.session_id}
        return Response({"answer": ref, "shown": "", "beside": ""})


def receive(source: HttpRequest, file: IncomingFile) -> None:
    limit = settings.SANDBOX_UPLOAD_MB * uploads.MB
    while chunk := source.read(CHUNK):
        if file.size + len(chunk) > limit:
            raise FileTooLarge
        file.write(chunk)
    file.close()


def steps(execution: Execution) -> list[tuple[str, float]]:
    taken = execution.step_ms
    return [(step, taken[step]) for step in (*STEPS, "total") if step in taken]


def page_of(model: str, pk: str) -> str:
    return reverse(f"admin:audit_{model}_change", args=(quote(pk),))
