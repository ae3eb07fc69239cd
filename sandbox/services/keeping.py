"""After a run: files into the store, rows into the database, the container back to its session."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.utils import timezone
from psycopg.types.json import Jsonb

from audit import recording
from audit.models import Execution, SandboxFile, SandboxInput, SandboxSession
from keys.statements import ask
from sandbox import storage_quotas
from sandbox.answers import MAX_SKIPPED_NAMES
from sandbox.channel import RunResult, Skipped
from sandbox.claiming import Claim
from sandbox.database import replace_broken_connection
from sandbox.errors import LeaseLost
from sandbox.outcome import Verdict
from sandbox.services.clock import StepClock
from sandbox.services.inputs import Workspace
from sandbox.services.requests import Inherited, Outcome, Output
from sandbox.services.sessions import Lease
from sandbox.workspace import Collected

# All that a run changes but its files, in one statement and in the order in which others lock it:
# only the lease's holder ends the run, and a container that the keeper has ended stays so.
FINISH = """
    WITH held AS (
        UPDATE audit_sandboxsession
        SET lease_token = '', lease_expires_at = NULL, has_files = has_files OR %(has_files)s
        WHERE id = %(session)s AND lease_token = %(token)s RETURNING id
    ), idle AS (
        UPDATE audit_sandboxcontainer
        SET state = 'idle', manifest = %(manifest)s, last_used_at = now(), last_use = %(token)s
        WHERE id = %(container)s AND state = 'leased' AND EXISTS (SELECT FROM held)
    ), written AS (
        UPDATE audit_execution SET
            status = %(status)s, message = %(message)s, exit_code = %(exit_code)s,
            limits_hit = %(limits_hit)s,
            signal = %(signal)s, stdout = %(stdout)s, stderr = %(stderr)s,
            ended_at = %(ended_at)s, stdout_bytes = %(stdout_bytes)s,
            stderr_bytes = %(stderr_bytes)s, wall_ms = %(wall_ms)s, cpu_ms = %(cpu_ms)s,
            memory_bytes = %(memory_bytes)s, step_ms = %(step_ms)s
        WHERE id = %(execution)s AND status = 'running' AND EXISTS (SELECT FROM held) RETURNING id
    )
    SELECT (SELECT count(*) FROM held), (SELECT count(*) FROM written)
"""
FINISHED = (
    "message", "exit_code", "signal", "stdout", "stderr", "ended_at", "stdout_bytes",
    "stderr_bytes", "wall_ms", "cpu_ms", "memory_bytes",
)  # fmt: skip

# A container may say anything; Postgres takes no more.
MAX_INTEGER = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended in its container."""

    claim: Claim
    workspace: Workspace
    collected: Collected
    result: RunResult
    verdict: Verdict
    # How many of its new files the answer lists.
    max_listed: int


def storable(text: str) -> str:
    """Postgres refuses NUL and lone surrogates in text."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def content_type(name: str) -> str:
    # Not as a URL: one that begins with "data:" would say its type itself, at any length.
    return mimetypes.guess_type(f"./{name}", strict=False)[0] or "application/octet-stream"


def keep(lease: Lease, execution: Execution, ended: Ended, clock: StepClock) -> Outcome:
    """Keep all of it or nothing. The bytes come first and their rows after, in one transaction
    that only the lease's holder can commit. When that is durable, so is all that was noted of
    the run before."""
    session, collected = lease.session, ended.collected
    files = {
        name: SandboxFile(
            session=session,
            execution=execution,
            name=name,
            size=incoming.size,
            sha256=incoming.sha256,
            content_type=content_type(name),
            executable=entry.executable,
        )
        for name, (entry, incoming) in collected.changed.items()
    }
    try:
        for name, file in files.items():
            collected.changed[name][1].keep(file.store_key)
            # A slow disk takes its time for a thousand of them.
            lease.keep_up()
        clock.lap("store")
        replace_broken_connection()
        if _changes_workspace(ended):
            with transaction.atomic():
                _finish(lease, execution, ended.verdict, ended, clock)
                _keep_workspace(session, files, ended)
                if files:
                    storage_quotas.release(execution, session.user_id)
        else:
            _finish(lease, execution, ended.verdict, ended, clock)
    except (OperationalError, InterfaceError):
        # Lost with the connection, perhaps only the commit's answer was.
        raise
    except BaseException:
        collected.discard()
        raise
    return _outcome(session, execution, files, ended)


def keep_verdict(lease: Lease, execution: Execution, verdict: Verdict, clock: StepClock) -> Outcome:
    """Keep the end of a run that left no container and no files."""
    replace_broken_connection()
    _finish(lease, execution, verdict, None, clock)
    return Outcome(session=lease.session, execution=execution, verdict=verdict)


def keep_stop(execution: Execution, verdict: Verdict, clock: StepClock) -> Outcome:
    """Keep the end of a run whose turn in its session never came: there is no lease to give
    back. The keeper may have given it up meanwhile."""
    _note_end(execution, verdict, clock)
    columns = ("status", "message", "exit_code", "signal", "stderr", "ended_at", "step_ms")
    running = Execution.objects.running().filter(pk=execution.pk)
    running.update(**{column: getattr(execution, column) for column in columns})
    return Outcome(session=execution.session, execution=execution, verdict=verdict)


def _changes_workspace(ended: Ended) -> bool:
    collected, workspace = ended.collected, ended.workspace
    return bool(
        collected.changed
        or collected.deleted
        or collected.modes
        or workspace.displaced
        or workspace.files
    )


def _keep_workspace(session: SandboxSession, files: dict[str, SandboxFile], ended: Ended) -> None:
    """Each name is afterwards either a current file of the session or one of its inputs."""
    now = timezone.now()
    written = files.keys() | ended.collected.deleted | ended.workspace.displaced
    foreign = {
        name: file
        for name, file in ended.workspace.files.items()
        if name not in written and not _is_current(file, name, session)
    }
    if session.has_files:
        SandboxFile.objects.filter(
            session=session, superseded_at=None, name__in=written | foreign.keys()
        ).update(superseded_at=now)
        SandboxInput.objects.filter(session=session, name__in=written).delete()
    SandboxFile.objects.bulk_create(files.values())
    for executable in (True, False):
        # Of its own files only: another session's are as that session has them.
        names = [name for name, mode in ended.collected.modes.items() if mode == executable]
        if names:
            SandboxFile.objects.filter(session=session, superseded_at=None, name__in=names).update(
                executable=executable
            )
    SandboxInput.objects.bulk_create(
        [SandboxInput(session=session, name=name, file=file) for name, file in foreign.items()],
        update_conflicts=True,
        unique_fields=["session", "name"],
        update_fields=["file"],
    )


def _is_current(file: SandboxFile, name: str, session: SandboxSession) -> bool:
    return file.session_id == session.pk and file.name == name and file.superseded_at is None


def _finish(
    lease: Lease, execution: Execution, verdict: Verdict, ended: Ended | None, clock: StepClock
) -> None:
    _note_end(execution, verdict, clock)
    if ended:
        result = ended.result
        execution.stdout_bytes = result.stdout_bytes
        execution.stderr_bytes = result.stderr_bytes
        execution.wall_ms = min(result.wall_ms, MAX_INTEGER)
        execution.cpu_ms = min(result.cpu_ms, MAX_INTEGER)
        execution.memory_bytes = result.peak_memory_bytes
    values: dict[str, Any] = {
        **{name: getattr(execution, name) for name in FINISHED},
        "status": str(execution.status),
        "limits_hit": Jsonb(execution.limits_hit),
        "step_ms": Jsonb(execution.step_ms),
        "execution": execution.pk,
        "session": lease.session.pk,
        "token": lease.token,
        "has_files": ended is not None and _changes_workspace(ended),
        "container": ended.claim.container.pk if ended else "",
        "manifest": Jsonb(ended.collected.manifest if ended else {}),
    }
    held, written = ask(FINISH, values) or (0, 0)
    if not held:
        raise LeaseLost("Another worker took the session over")
    lease.note_end()
    if not written:
        raise LeaseLost("The run was aborted meanwhile, or the database has lost it")


def _note_end(execution: Execution, verdict: Verdict, clock: StepClock) -> None:
    execution.status = Execution.Status(verdict.status)
    execution.message = verdict.message[:255]
    execution.exit_code = verdict.exit_code
    execution.signal = verdict.signal
    execution.stdout = recording.of_output(
        execution, storable(verdict.stdout), cut=verdict.stdout_cut
    )
    execution.stderr = _recorded_errors(execution, verdict)
    execution.limits_hit = [limit.value for limit in verdict.limits_hit]
    execution.ended_at = timezone.now()
    execution.step_ms = clock.total()


def _recorded_errors(execution: Execution, verdict: Verdict) -> str:
    """What we say of the run ourselves stands behind what its program said, which may be cut."""
    said = verdict.stderr.removesuffix(verdict.notes)
    recorded = recording.of_output(execution, storable(said), cut=verdict.stderr_cut)
    return recorded + verdict.notes


def _outcome(
    session: SandboxSession, execution: Execution, files: dict[str, SandboxFile], ended: Ended
) -> Outcome:
    workspace, collected = ended.workspace, ended.collected
    listed = dict(list(files.items())[: ended.max_listed])
    return Outcome(
        session=session,
        execution=execution,
        verdict=ended.verdict,
        outputs=[
            Output(file, modified_from=_modified_input(workspace, name, session))
            for name, file in listed.items()
        ],
        inherited=[
            Inherited(ref, workspace.files[name])
            for name, ref in workspace.refs.items()
            # A legacy client would take an unchanged input for a new file.
            if name in collected.unchanged and not ref.legacy
        ],
        deleted=sorted(name for name in collected.deleted if name in workspace.refs),
        skipped=_with_unlisted(collected.skipped, [name for name in files if name not in listed]),
        reused=ended.claim.source == Execution.Source.SESSION,
    )


def _modified_input(workspace: Workspace, name: str, session: SandboxSession) -> SandboxFile | None:
    before = workspace.files.get(name)
    if before and (name in workspace.refs or before.session_id != session.pk):
        return before
    return None


def _with_unlisted(skipped: Skipped, unlisted: list[str]) -> Skipped:
    """The answer names fewer files than the session keeps; the rest counts as `max_files`."""
    if not unlisted:
        return skipped
    return Skipped(
        reasons=skipped.reasons
        | {"max_files": skipped.reasons.get("max_files", 0) + len(unlisted)},
        names=[*skipped.names, *unlisted][:MAX_SKIPPED_NAMES],
    )
