"""Who calls, and whose files they say they mean."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from audit.ids import is_id
from audit.models import SandboxSession
from keys.authentication import APIRequest
from sandbox.api.errors import InvalidRequest
from sandbox.api.serializers import version_number
from sandbox.api.text import header_text, label
from sandbox.services import NO_SCOPE, Caller, FileRef, Scope

USER, SKILL = SandboxSession.Kind.USER, SandboxSession.Kind.SKILL
KINDS = ("skill", "agent", "user")


def caller(
    request: APIRequest,
    scope: Scope = NO_SCOPE,
    *,
    user_id: str = "",
    named_user: str = "",
    entity_id: str = "",
) -> Caller:
    """A token proves its user, whatever else the request says. Without one the user is what
    LibreChat says: hints within the key, never proof of anything."""
    proven = request.user.user_id
    return Caller(
        key=request.auth,
        user_is_proven=proven != "",
        user_id=(
            proven
            or label(header_text(request.headers.get("User-Id", "")))
            or (scope.resource_id if scope.kind == USER else "")
            or user_id
        ),
        named_user=named_user,
        entity_id=entity_id or label(request.query_params.get("entity_id")),
        address=address(request),
    )


def user_of(files: Iterable[FileRef]) -> str:
    """Whose the files of a run are, if they are one user's. LibreChat's bash tool names no user but
    there; and for what a run just wrote it may put the file's own id in the user's place."""
    named = {ref.resource_id for ref in files if ref.kind == USER and ref.resource_id}
    users = {name for name in named if not is_id(name)}
    return users.pop() if len(users) == 1 else ""


def address(request: APIRequest) -> str | None:
    """None where gunicorn listens on a Unix socket."""
    try:
        return str(ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")))
    except ValueError:
        return None


def scope_named(values: Mapping[str, str]) -> Scope:
    """From a query. LibreChat before 0.8.6 names none."""
    kind = values.get("kind") or ""
    if not kind:
        return NO_SCOPE
    if kind not in KINDS:
        raise InvalidRequest("kind must be one of: skill, agent, user")
    return Scope(
        kind=kind,
        resource_id=label(values.get("id")),
        version=version_number(values.get("version")),
    )


def scope_uploaded(fields: Mapping[str, str]) -> Scope:
    """From an upload's form, where what a skill needs must be complete."""
    scope = scope_named(fields)
    if not scope.kind:
        return scope
    if scope.kind == SKILL and scope.version is None:
        raise InvalidRequest("version must be an integer for kind skill")
    if scope.kind != SKILL and fields.get("version"):
        raise InvalidRequest("version is only allowed for kind skill")
    if scope.kind != USER and not scope.resource_id:
        raise InvalidRequest(f"id is required for kind {scope.kind}")
    return scope
