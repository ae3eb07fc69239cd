"""From the refs of a request to the files that its run finds in the workspace."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db.models import Q

from audit.models import SandboxFile, SandboxInput, SandboxSession
from sandbox.names import is_safe_name, librechat_name
from sandbox.services.ownership import belongs_to
from sandbox.services.requests import Caller, FileRef
from sandbox.workspace import without_conflicts

logger = logging.getLogger(__name__)

# Among how many of the caller's newest files one is looked for that LibreChat has renamed.
FALLBACK_CANDIDATES = 500


@dataclass(slots=True)
class Workspace:
    """What the run is to find: name to file, and which ref, if any, asked for it."""

    files: dict[str, SandboxFile] = field(default_factory=dict)
    refs: dict[str, FileRef] = field(default_factory=dict)
    # Names that gave way to others: a file where there is now a directory, or the reverse.
    displaced: set[str] = field(default_factory=set)

    def mount(self, name: str, file: SandboxFile, ref: FileRef | None = None) -> None:
        # Taken out first, so that the later mount also comes later in the order.
        self.files.pop(name, None)
        self.refs.pop(name, None)
        self.files[name] = file
        if ref:
            self.refs[name] = ref

    def drop(self, names: Iterable[str]) -> None:
        for name in names:
            logger.error("the store has lost %s", self.files.pop(name).store_key)
            self.refs.pop(name, None)

    def settle(self) -> None:
        files = without_conflicts(self.files)
        self.displaced, self.files = self.files.keys() - files.keys(), files
        self.refs = {name: ref for name, ref in self.refs.items() if name in self.files}


def assemble(caller: Caller, session: SandboxSession, refs: Iterable[FileRef]) -> Workspace:
    """The session's own files and remembered inputs, then the request's refs above them."""
    workspace = Workspace()
    if session.has_files:
        _mount_session(workspace, session)
    refs = list(refs)
    for exec_session in _legacy_exec_sessions(caller, session, refs):
        _mount_session(workspace, exec_session, outputs=False)
    known = _known_files(caller, refs)
    found = _newest_of_same_name(caller, [ref for ref in refs if ref.id not in known and ref.name])
    for ref in refs:
        file = known.get(ref.id) or found.get(ref)
        name = ref.name or (file.name if file else "")
        if file is None or not is_safe_name(name):
            logger.info("file ref %s of session %s is unknown", ref.id, ref.session_id)
            continue
        workspace.mount(name, file, ref)
    workspace.settle()
    return workspace


def _mount_session(workspace: Workspace, session: SandboxSession, *, outputs: bool = True) -> None:
    live = SandboxFile.objects.live()
    remembered = SandboxInput.objects.filter(session=session, file__in=live)
    for remembered_input in remembered.select_related("file").order_by("pk"):
        workspace.mount(remembered_input.name, remembered_input.file)
    if outputs:
        for file in SandboxFile.objects.current().filter(session=session).order_by("created_at"):
            workspace.mount(file.name, file)


def _legacy_exec_sessions(
    caller: Caller, session: SandboxSession, refs: list[FileRef]
) -> list[SandboxSession]:
    """Runs that legacy refs point to. LibreChat 0.8.2 to 0.8.5 replaces a conversation's uploads
    by the first run's outputs: only that run still knows of the uploads."""
    ids = {ref.session_id for ref in refs if ref.legacy} - {session.pk}
    if not ids:
        return []
    runs = SandboxSession.objects.live().filter(
        belongs_to(caller), pk__in=ids, origin=SandboxSession.Origin.RUN
    )
    return list(runs.order_by("created_at"))


def _known_files(caller: Caller, refs: list[FileRef]) -> dict[str, SandboxFile]:
    """By id alone: old clients name the run's session for an upload that it merely used."""
    if not refs:
        return {}
    files = SandboxFile.objects.live().filter(belongs_to(caller, "session"))
    return files.in_bulk([ref.id for ref in refs])


def _newest_of_same_name(caller: Caller, refs: list[FileRef]) -> dict[FileRef, SandboxFile]:
    """LibreChat before 0.8.6 sends the stale ref once more in the turn in which it uploads a file
    again. The name is looked for among the same user's and the same agent's files only."""
    by_owner: dict[Q, list[FileRef]] = {}
    for ref in refs:
        by_owner.setdefault(_owner(caller, ref), []).append(ref)
    found = {}
    for owner, wanted in by_owner.items():
        files = SandboxFile.objects.current().filter(owner, belongs_to(caller, "session"))
        same = files.filter(name__in={ref.name for ref in wanted})
        newest: dict[str, SandboxFile] = {}
        for file in sorted(
            [
                *same.order_by("name", "-created_at").distinct("name"),
                *files.order_by("-created_at")[:FALLBACK_CANDIDATES],
            ],
            key=lambda file: file.created_at,
        ):
            newest[file.name] = newest[librechat_name(file.name)] = file
        found.update({ref: newest[ref.name] for ref in wanted if ref.name in newest})
    return found


def _owner(caller: Caller, ref: FileRef) -> Q:
    if ref.kind in (SandboxSession.Kind.AGENT, SandboxSession.Kind.SKILL):
        return Q(session__kind=ref.kind, session__resource_id=ref.resource_id or "")
    owner = _of_user(caller, ref)
    entity_id = ref.entity_id or caller.entity_id
    if entity_id:
        # What was uploaded to the agent is all its users'; what its runs wrote is each user's own.
        owner |= Q(session__entity_id=entity_id, session__origin=SandboxSession.Origin.UPLOAD)
    return owner


def _of_user(caller: Caller, ref: FileRef) -> Q:
    """LibreChat's bash tool names no user; then the ref may. What a run of nobody in particular
    wrote is never found by its name: it may be another user's."""
    named = ref.resource_id if ref.kind == SandboxSession.Kind.USER else None
    user_id = caller.user_id or named or ""
    owner = Q(session__user_id=user_id)
    return owner if user_id else owner & Q(session__origin=SandboxSession.Origin.UPLOAD)
