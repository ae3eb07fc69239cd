"""One run, from the request to the answer."""

from __future__ import annotations

import time
from dataclasses import replace

from django.conf import settings

from audit import recording
from audit.models import Execution, LimitHit, SandboxSession
from keys.limits import Limits
from sandbox import calls, pool, quotas, storage_quotas
from sandbox.channel import Channel, Fence, RunLimits
from sandbox.claiming import Claim, Claiming, Wait, never
from sandbox.database import unacknowledged
from sandbox.engines import engine
from sandbox.errors import (
    ContainerLost,
    SandboxError,
    SandboxFileNotFound,
    Stopped,
    WorkspaceFull,
)
from sandbox.outcome import failure, judge, left_out, out_of_memory, stopped
from sandbox.services import keeping, sessions
from sandbox.services.clock import StepClock
from sandbox.services.entering import enter, user_of_session
from sandbox.services.inputs import Workspace, assemble
from sandbox.services.progress import Progress
from sandbox.services.requests import Abandoned, Caller, Outcome, RunRequest
from sandbox.services.sessions import Lease
from sandbox.workspace import MB, Collected, bring_in, bring_out, changes_from

# A container may die between two runs without anybody noticing; so may its successor.
ATTEMPTS = 3
NO_ROOM = "No room in the workspace for the run's files"


def execute(
    caller: Caller,
    request: RunRequest,
    *,
    clock: StepClock | None = None,
    abandoned: Abandoned = never,
) -> Outcome:
    """Run a program in its session's workspace.

    Whatever the program does is a result; what is raised is ours. When this returns, the files
    are in the store and the execution's row is final. A run over a quota is not even written down.
    """
    clock = clock or StepClock()
    execution = Execution(
        key=caller.key,
        user_id=caller.noted_user,
        entity_id=caller.entity_id,
        client_address=caller.address,
        language=request.language,
        **recording.of_request(
            caller.key,
            keeping.storable(request.code),
            [keeping.storable(arg) for arg in request.args],
        ),
    )
    calls.note_execution(execution)
    progress = Progress(execution, abandoned)
    try:
        with quotas.counted(execution, lambda: user_of_session(caller, request)):
            return _execute(caller, request, execution, clock, progress)
    finally:
        progress.end()


def _execute(
    caller: Caller,
    request: RunRequest,
    execution: Execution,
    clock: StepClock,
    progress: Progress,
) -> Outcome:
    deadline = time.monotonic() + settings.SANDBOX_QUEUE_SECONDS
    wait = Wait(deadline, abandoned=progress.waits_in_vain)
    try:
        lease, claim = _enter(caller, request, execution, clock, wait)
    except Stopped:
        return keeping.keep_stop(execution, stopped(), clock)
    wait = replace(wait, heartbeat=lease.renew)
    try:
        with sessions.ending(lease):
            workspace = _assemble(caller, request, lease.session, claim)
            clock.lap("inputs")
            return _run(request, workspace, lease, claim, execution, clock, wait, progress)
    except SandboxError as error:
        execution.abort(str(error) or type(error).__name__)
        raise


def _enter(
    caller: Caller, request: RunRequest, execution: Execution, clock: StepClock, wait: Wait
) -> tuple[Lease, Claim | None]:
    """The session, when it is this run's turn in it, and a container if one was at hand. Only a
    run that has to wait for its turn is written down before it has a container."""
    with unacknowledged():
        entered = enter(caller, request, execution)
        lease = entered.lease
        clock.lap("session")
        if lease is None:
            execution.session = entered.session
            execution.user_id = execution.user_id or entered.session.user_id
            execution.lease_token = execution.container_source = ""
            execution.save(force_insert=True)
            try:
                lease = sessions.wait_for_turn(entered.session, wait)
            except Stopped:
                raise
            except SandboxError as error:
                execution.abort(str(error))
                raise
            clock.lap("turn")
    execution.lease_token = lease.token
    return lease, entered.claim


def _assemble(
    caller: Caller, request: RunRequest, session: SandboxSession, claim: Claim | None
) -> Workspace:
    try:
        workspace = assemble(caller, session, request.files)
        # What a session still uses must not expire before it. Outside the transaction that ends
        # the run: two runs that use each other's files would lock each other out there.
        others = {file.session_id for file in workspace.files.values()} - {session.pk}
        if others:
            sessions.keep_alive(others)
    except BaseException:
        if claim:
            pool.discard(claim.container, "its run's files could not be looked up")
        raise
    return workspace


def _run(
    request: RunRequest,
    workspace: Workspace,
    lease: Lease,
    claim: Claim | None,
    execution: Execution,
    clock: StepClock,
    wait: Wait,
    progress: Progress,
) -> Outcome:
    try:
        claim, channel = _open(execution, workspace, lease, claim, wait, clock)
    except WorkspaceFull as error:
        verdict = failure(str(error), error.limits)
        # The name of a file, which its user is told, is not for all who may see that it ran.
        verdict = replace(verdict, message=NO_ROOM)
        return keeping.keep_verdict(lease, execution, verdict, clock)
    except Stopped:
        return keeping.keep_verdict(lease, execution, stopped(), clock)
    limits = execution.key.limits
    of_run = run_limits(limits, request.timeout_seconds)
    try:
        with channel:
            changes = changes_from(workspace.files, limits)
            result = channel.run(
                language=request.language,
                code=request.code.encode(errors="replace"),
                args=request.args,
                limits=of_run,
                abandoned=progress.is_over,
                output=progress.output,
                then_collect=changes,
            )
            clock.lap("run")
            collected = bring_out(channel, changes, workspace.files)
        clock.lap("collect")
        also_hit = hit_by_files(collected, of_run, limits.max_output_files)
        if storage_quotas.leave_out(execution, lease.session, collected, workspace.files):
            also_hit.append(LimitHit.STORED_BYTES)
        verdict = judge(result, of_run, also_hit, is_stopped=progress.is_stopped)
        ended = keeping.Ended(claim, workspace, collected, result, verdict, limits.max_output_files)
        return keeping.keep(lease, execution, ended, clock)
    except BaseException as error:
        its_fault = isinstance(error, ContainerLost) and _was_out_of_memory(claim)
        # Nothing is known of what is inside; the next run starts from the store.
        pool.discard(claim.container, "its run did not end cleanly")
        if its_fault:
            return keeping.keep_verdict(lease, execution, out_of_memory(), clock)
        raise


def _was_out_of_memory(claim: Claim) -> bool:
    """Whether the kernel took the whole container, as under gVisor: the program's doing as well."""
    try:
        death = engine().death(claim.container.name)
    except SandboxError:
        return False
    return death is not None and death.oom_killed


def _open(
    execution: Execution,
    workspace: Workspace,
    lease: Lease,
    claim: Claim | None,
    wait: Wait,
    clock: StepClock,
) -> tuple[Claim, Channel]:
    """A container with the run's files in it. Nothing of the program has run yet, so a container
    that turns out to be dead is simply replaced."""
    claiming = Claiming(execution=execution, wait=wait, is_first=lease.is_first, lap=clock.lap)
    for attempt in range(ATTEMPTS):
        if claim is None:
            with unacknowledged():
                # After an engine's restart all that were running are dead.
                claim = claiming.claim(rather_new=attempt == ATTEMPTS - 1)
        try:
            channel = Channel(
                engine().attach(claim.container.name),
                heartbeat=wait.heartbeat,
                fence=Fence(last=claim.container.last_use, use=lease.token),
            )
            clock.lap("attach")
            try:
                if claim.source == Execution.Source.RECYCLED:
                    channel.reset()
                    clock.lap("reset")
                workspace.drop(bring_in(channel, claim.container, workspace.files))
            except BaseException:
                channel.close()
                raise
        except ContainerLost as error:
            pool.discard(claim.container, f"found dead: {error}")
            claim = None
            continue
        except SandboxFileNotFound:
            # Deleted, or expired, since it was looked for: the next attempt goes without it.
            pool.discard(claim.container, "one of its files has gone")
            claim = None
            continue
        except BaseException:
            pool.discard(claim.container, "its files could not be brought in")
            raise
        clock.lap("files_in")
        return claim, channel
    raise ContainerLost("The sandbox died before the run")


def run_limits(limits: Limits, timeout_seconds: float | None) -> RunLimits:
    """A request may ask for less time than the default, or for more up to the limit."""
    wanted = timeout_seconds or settings.SANDBOX_RUN_SECONDS
    wall = min(wanted, limits.max_run_seconds)
    return RunLimits(
        wall_seconds=wall,
        output_bytes=limits.output_bytes,
        cpu_seconds=min(limits.cpu_seconds, int(wall) + 1),
        open_files=limits.open_files,
        file_bytes=limits.write_mb * MB,
    )


def hit_by_files(collected: Collected, limits: RunLimits, max_listed: int) -> list[LimitHit]:
    """The limits that show in what a run has left."""
    hit = left_out(collected.skipped.limits)
    if len(collected.changed) > max_listed:
        hit.append(LimitHit.KEPT_FILES)
    # What ignores the signal, as Python does, gets an error; the file is then as large as can be.
    if any(entry.size == limits.file_bytes for entry, _ in collected.changed.values()):
        hit.append(LimitHit.FILE_SIZE)
    return hit
