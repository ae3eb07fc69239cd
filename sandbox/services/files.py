"""Uploads, downloads, listings. The only way to a session or file is through its key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Q
from django.utils import timezone

from audit.models import SandboxFile, SandboxInput, SandboxSession
from sandbox import quotas, storage_quotas, store
from sandbox.errors import SandboxFileNotFound, SessionNotFound, StorageQuotaExceeded
from sandbox.services import sessions
from sandbox.services.ownership import belongs_to
from sandbox.services.requests import Caller, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """An upload that has arrived whole."""

    name: str
    content_type: str
    file: store.IncomingFile


@dataclass(frozen=True, slots=True)
class UploadResult:
    session: SandboxSession
    files: list[SandboxFile]


def upload(
    caller: Caller, incoming: Sequence[Incoming], *, scope: Scope, read_only: bool = False
) -> UploadResult:
    """Keep the files as one new session, or nothing of them."""
    session = sessions.new(caller, origin=SandboxSession.Origin.UPLOAD, scope=scope)
    files = [
        SandboxFile(
            session=session,
            name=item.name,
            size=item.file.size,
            sha256=item.file.sha256,
            content_type=item.content_type,
            read_only=read_only,
        )
        for item in incoming
    ]
    size = sum(file.size for file in files)
    try:
        # Once more below, where nothing else can come between.
        storage_quotas.check(caller.key, caller.user_id, size)
        for item, file in zip(incoming, files, strict=True):
            item.file.keep(file.store_key)
        with transaction.atomic():
            storage_quotas.hold(caller.key, caller.user_id, size)
            session.save(force_insert=True)
            SandboxFile.objects.bulk_create(files)
    except (OperationalError, InterfaceError):
        for item in incoming:
            item.file.leave()
        raise
    except StorageQuotaExceeded as error:
        for item in incoming:
            item.file.discard()
        quotas.note_refusal(caller.key, caller.user_id, error.quota)
        raise
    except BaseException:
        for item in incoming:
            item.file.discard()
        raise
    return UploadResult(session, files)


def get_session(caller: Caller, session_id: str, scope: Scope) -> SandboxSession:
    session = SandboxSession.objects.live().filter(belongs_to(caller), pk=session_id).first()
    if session is None or not _in_scope(session, scope):
        raise SessionNotFound
    return session


def _in_scope(session: SandboxSession, scope: Scope) -> bool:
    """Skills and agents are named by kind, id and version. A user's id is no proof: without a JWT
    a run's owner is unknown, and LibreChat fills the field with file ids as well."""
    if not scope.kind:
        return True
    mine = session.kind or SandboxSession.Kind.USER
    if mine != scope.kind:
        return False
    return mine == SandboxSession.Kind.USER or (
        session.resource_id == scope.resource_id and session.version == scope.version
    )


def get_file(caller: Caller, session_id: str, file_id: str, scope: Scope) -> SandboxFile:
    """A file of the session, or one that its runs used: clients ask for those under it as well."""
    file = (
        SandboxFile.objects.live()
        .select_related("session")
        .filter(
            Q(session_id=session_id) | Q(used_by__session_id=session_id),
            belongs_to(caller, "session"),
            pk=file_id,
        )
        .first()
    )
    if file is None or (file.session_id == session_id and not _in_scope(file.session, scope)):
        raise SandboxFileNotFound
    return file


def list_files(
    caller: Caller, session_id: str, scope: Scope, *, with_inputs: bool = False
) -> list[SandboxFile]:
    """What the session's next run finds: its own files, and on request those it only uses."""
    session = get_session(caller, session_id, scope)
    files = list(SandboxFile.objects.current().filter(session=session).order_by("created_at"))
    if with_inputs:
        inputs = SandboxInput.objects.filter(
            session=session, file__in=SandboxFile.objects.live()
        ).select_related("file")
        for used in inputs.order_by("pk"):
            # Under the name that the session knows it by.
            used.file.name = used.name
            files.append(used.file)
    return files


def open_file(file: SandboxFile) -> BinaryIO:
    return store.open_file(file.store_key)


def delete_file(caller: Caller, session_id: str, file_id: str, scope: Scope) -> None:
    """Only under its own session: under another it is merely used."""
    file = get_file(caller, session_id, file_id, scope)
    live = SandboxFile.objects.filter(pk=file.pk, session_id=session_id, deleted_at=None)
    if not live.update(deleted_at=timezone.now()):
        raise SandboxFileNotFound
    store.delete_file(file.store_key)
