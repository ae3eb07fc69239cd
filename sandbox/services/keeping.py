"""After a run: files into the store, rows into the database, the container back to its session."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.utils import timezone

from audit.models import Execution, SandboxContainer, SandboxFile, SandboxInput, SandboxSession
from sandbox.answers import MAX_SKIPPED_NAMES
from sandbox.channel import RunResult, Skipped
from sandbox.outcome import Verdict
from sandbox.pool import Claim
from sandbox.services.clock import StepClock
from sandbox.services.inputs import Workspace
from sandbox.services.requests import Inherited, Outcome, Output
from sandbox.services.sessions import Lease
from sandbox.workspace import Collected

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


def storable(text: str) -> str:
    """Postgres refuses NUL and lone surrogates in text."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def content_type(name: str) -> str:
    # Not as a URL: one that begins with "data:" would say its type itself, at any length.
    return mimetypes.guess_type(f"./{name}", strict=False)[0] or "application/octet-stream"


def keep(lease: Lease, execution: Execution, ended: Ended, clock: StepClock) -> Outcome:
    """Keep all of it or nothing. The bytes come first and their rows after, in one transaction
    that only the lease's holder can commit."""
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
        clock.lap("store")
        with transaction.atomic():
            lease.end()
            _keep_workspace(session, files, ended)
            # Unless the keeper has ended it: then it must stay so.
            SandboxContainer.objects.filter(
                pk=ended.claim.container.pk, state=SandboxContainer.State.LEASED
            ).update(
                state=SandboxContainer.State.IDLE,
                manifest=collected.manifest,
                last_used_at=timezone.now(),
            )
            _finish(execution, ended.verdict, ended.result, clock)
    except (OperationalError, InterfaceError):
        # Lost with the connection, perhaps only the commit's answer was.
        raise
    except BaseException:
        collected.discard()
        raise
    return _outcome(session, execution, files, ended)


def keep_verdict(lease: Lease, execution: Execution, verdict: Verdict, clock: StepClock) -> Outcome:
    """Keep the end of a run that left no container and no files."""
    with transaction.atomic():
        lease.end()
        _finish(execution, verdict, None, clock)
    return Outcome(session=lease.session, execution=execution, verdict=verdict)


def _keep_workspace(session: SandboxSession, files: dict[str, SandboxFile], ended: Ended) -> None:
    """Each name is afterwards either a current file of the session or one of its inputs."""
    now = timezone.now()
    written = files.keys() | ended.collected.deleted | ended.workspace.displaced
    foreign = {
        name: file
        for name, file in ended.workspace.files.items()
        if name not in written and not _is_current(file, name, session)
    }
    SandboxFile.objects.filter(
        session=session, superseded_at=None, name__in=written | foreign.keys()
    ).update(superseded_at=now)
    if written:
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
    execution: Execution, verdict: Verdict, result: RunResult | None, clock: StepClock
) -> None:
    execution.status = verdict.status
    execution.message = verdict.message[:255]
    execution.exit_code = verdict.exit_code
    execution.signal = verdict.signal
    execution.stdout = storable(verdict.stdout)
    execution.stderr = storable(verdict.stderr)
    execution.ended_at = timezone.now()
    if result:
        execution.stdout_bytes = result.stdout_bytes
        execution.stderr_bytes = result.stderr_bytes
        execution.wall_ms = min(result.wall_ms, MAX_INTEGER)
        execution.cpu_ms = min(result.cpu_ms, MAX_INTEGER)
        execution.memory_bytes = result.peak_memory_bytes
    execution.step_ms = clock.steps
    execution.save(
        update_fields=[
            "status", "message", "exit_code", "signal", "stdout", "stderr", "ended_at",
            "stdout_bytes", "stderr_bytes", "wall_ms", "cpu_ms", "memory_bytes", "step_ms",
        ]
    )  # fmt: skip


def _outcome(
    session: SandboxSession, execution: Execution, files: dict[str, SandboxFile], ended: Ended
) -> Outcome:
    workspace, collected = ended.workspace, ended.collected
    listed = dict(list(files.items())[: settings.SANDBOX_MAX_OUTPUT_FILES])
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
