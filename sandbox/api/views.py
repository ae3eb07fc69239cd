"""The routes: check, call one service, answer."""

from __future__ import annotations

from django.http import FileResponse, HttpResponse
from rest_framework.response import Response

from audit.ids import is_id
from audit.models import SandboxFile
from keys.authentication import APIRequest
from keys.models import KeyScope
from sandbox import readiness, services
from sandbox.api import downloads, listings, uploads, wire
from sandbox.api.base import SandboxView
from sandbox.api.callers import caller, scope_named, scope_uploaded, user_of
from sandbox.api.connection import client_gone
from sandbox.api.parsers import BoundedJSONParser
from sandbox.api.serializers import ExecSerializer
from sandbox.api.text import label
from sandbox.calls import note_session
from sandbox.errors import SandboxFileNotFound, SessionNotFound


class Health(SandboxView):
    authentication_classes = ()
    permission_classes = ()

    def get(self, request: APIRequest) -> Response:
        return Response({"status": "ok"})


class Ready(SandboxView):
    """Tells everybody no more than which part it is: what is wrong with it is in the log."""

    authentication_classes = ()
    permission_classes = ()

    def get(self, request: APIRequest) -> Response:
        found = readiness.check()
        status = "ready" if found.is_ready else "not ready"
        return Response({"status": status, "parts": found.parts}, 200 if found.is_ready else 503)


class Exec(SandboxView):
    scope = KeyScope.EXEC
    parser_classes = (BoundedJSONParser,)

    def post(self, request: APIRequest) -> Response:
        serializer = ExecSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        run_request = serializer.run_request()
        who = caller(
            request,
            user_id=serializer.user(),
            named_user=user_of(run_request.files),
            entity_id=serializer.entity(),
        )
        self.clock.lap("parse")
        gone = client_gone(request._request.META)
        outcome = services.execute(who, run_request, clock=self.clock, abandoned=gone)
        return Response(wire.outcome(outcome, run_request))


class Programmatic(SandboxView):
    """LibreChat 0.8.3 and later ask here for runs that call the model's tools."""

    scope = KeyScope.EXEC

    def post(self, request: APIRequest) -> Response:
        error = "Programmatic tool calling is not supported by this server version"
        return Response({"error": error}, 501)


class ProgrammaticCancel(SandboxView):
    scope = KeyScope.EXEC

    def post(self, request: APIRequest) -> Response:
        return Response({"error": "No such programmatic request"}, 404)


class Upload(SandboxView):
    scope = KeyScope.FILES

    def post(self, request: APIRequest) -> Response:
        with uploads.receive(request, batch=False) as received:
            result = keep(request, received)
        return Response(listings.uploaded(result, received))


class UploadBatch(SandboxView):
    scope = KeyScope.FILES

    def post(self, request: APIRequest) -> Response:
        with uploads.receive(request, batch=True) as received:
            result = keep(request, received) if received.complete else None
        answer = listings.batch_uploaded(result, received)
        return Response(answer, 200 if result else 400)


def keep(request: APIRequest, received: uploads.Received) -> services.UploadResult:
    scope = scope_uploaded(received.fields)
    result = services.upload(
        caller(request, scope, entity_id=label(received.fields.get("entity_id"))),
        [arrival.incoming() for arrival in received.complete],
        scope=scope,
        read_only=received.fields.get("read_only", "").lower() in ("true", "1"),
    )
    note_session(result.session.pk)
    return result


class Download(SandboxView):
    scope = KeyScope.FILES

    def get(self, request: APIRequest, session_id: str, file_id: str) -> FileResponse:
        return downloads.download(self.file(request, session_id, file_id))

    def head(self, request: APIRequest, session_id: str, file_id: str) -> HttpResponse:
        return downloads.head(self.file(request, session_id, file_id))

    def file(self, request: APIRequest, session_id: str, file_id: str) -> SandboxFile:
        scope = scope_named(request.query_params)
        check_ids(session_id, file_id)
        return services.get_file(caller(request, scope), session_id, file_id, scope)


class SessionFiles(SandboxView):
    scope = KeyScope.FILES

    def get(self, request: APIRequest, session_id: str) -> Response:
        scope = scope_named(request.query_params)
        if not is_id(session_id):
            raise SessionNotFound
        detail = request.query_params.get("detail", "")
        files = services.list_files(
            caller(request, scope), session_id, scope, with_inputs=detail == "full"
        )
        one = listings.DETAILS.get(detail, listings.object_name)
        return Response([one(session_id, file) for file in files])


class SessionObject(SandboxView):
    """Metadata, although official servers' insides have the bytes under this path."""

    scope = KeyScope.FILES

    def get(self, request: APIRequest, session_id: str, file_id: str) -> Response:
        scope = scope_named(request.query_params)
        check_ids(session_id, file_id)
        file = services.get_file(caller(request, scope), session_id, file_id, scope)
        return Response(listings.metadata(session_id, file))

    def delete(self, request: APIRequest, session_id: str, file_id: str) -> Response:
        return delete(request, session_id, file_id)


class SessionFile(SandboxView):
    scope = KeyScope.FILES

    def delete(self, request: APIRequest, session_id: str, file_id: str) -> Response:
        return delete(request, session_id, file_id)


def delete(request: APIRequest, session_id: str, file_id: str) -> Response:
    scope = scope_named(request.query_params)
    check_ids(session_id, file_id)
    services.delete_file(caller(request, scope), session_id, file_id, scope)
    return Response(listings.deleted(session_id, file_id))


def check_ids(session_id: str, file_id: str) -> None:
    if not (is_id(session_id) and is_id(file_id)):
        raise SandboxFileNotFound
