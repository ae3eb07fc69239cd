from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from audit.models import SandboxFile, SandboxSession
from sandbox import services, store
from sandbox.services import (
    NO_SCOPE,
    Caller,
    FileRef,
    Incoming,
    Outcome,
    RunRequest,
    Scope,
    UploadResult,
)


def run(
    caller: Caller, code: str, *, files: list[FileRef] | None = None, **request: Any
) -> Outcome:
    """A Python program, unless the language says otherwise."""
    asked = RunRequest(
        language=request.pop("language", "py"),
        code=code,
        files=tuple(files or ()),
        **request,
    )
    return services.execute(caller, asked)


def lease(session: SandboxSession) -> str | None:
    """As another run of the session would take it."""
    until = timezone.now() + timedelta(hours=1)
    taken = SandboxSession.objects.take(session.pk, expires_at=until)
    return taken.lease_token if taken else None


def put(
    caller: Caller,
    *named: tuple[str, bytes],
    scope: Scope = NO_SCOPE,
    read_only: bool = False,
) -> UploadResult:
    incoming = []
    for name, data in named:
        file = store.IncomingFile()
        file.write(data)
        incoming.append(Incoming(name=name, content_type="text/plain", file=file))
    return services.upload(caller, incoming, scope=scope, read_only=read_only)


def ref(file: SandboxFile, *, name: str | None = None, **changes: Any) -> FileRef:
    values = {"id": file.pk, "session_id": file.session_id, "name": name or file.name}
    return FileRef(**(values | changes))


def legacy(file: SandboxFile, **changes: Any) -> FileRef:
    return ref(file, legacy=True, **changes)


def content(file: SandboxFile) -> bytes:
    with services.open_file(file) as stream:
        return stream.read()
