"""One run, from the request to the answer."""

from __future__ import annotations

import time

from django.conf import settings

from audit.models import Execution, SandboxSession
from sandbox import pool
from sandbox.channel import Channel, RunLimits
from sandbox.database import give_back_connection
from sandbox.engines import engine
from sandbox.errors import ContainerLost, SandboxError, SandboxFileNotFound, WorkspaceFull
from sandbox.outcome import failure, judge, out_of_memory
from sandbox.pool import Claim
from sandbox.services import keeping, sessions
from sandbox.services.clock import StepClock
from sandbox.services.inputs import Workspace, assemble
from sandbox.services.requests import Abandoned, Caller, Outcome, RunRequest
from sandbox.workspace import bring_in, bring_out

# A container may die between two runs without anybody noticing; so may its successor.
ATTEMPTS = 3


def execute(caller: Caller, request: RunRequest, *, abandoned: Abandoned = pool.never) -> Outcome:
    """Run a program in its session's workspace.

    Whatever the program does is a result; what is raised is ours. When this returns, the files
    are in the store and the execution's row is final.
    """
    clock = StepClock()
    session = sessions.session_for_run(caller, request)
    execution = Execution.objects.create(
        key=caller.key,
        session=session,
        user_id=caller.user_id,
        entity_id=caller.entity_id,
        client_address=caller.address,
        language=request.language,
        code=keeping.storable(request.code),
        args=[keeping.storable(arg) for arg in request.args],
    )
    clock.lap("session")
    try:
        return _run(caller, request, session, execution, clock, abandoned)
    except SandboxError as error:
        execution.abort(str(error) or type(error).__name__)
        raise


def _run(
    caller: Caller,
    request: RunRequest,
    session: SandboxSession,
    execution: Execution,
    clock: StepClock,
    abandoned: Abandoned,
) -> Outcome:
    deadline = time.monotonic() + settings.SANDBOX_QUEUE_SECONDS
    with sessions.leased(session, deadline=deadline, abandoned=abandoned) as lease:
        clock.lap("queue")
        workspace = assemble(caller, session, request.files)
        # What a session still uses must not expire before it. Outside the transaction that ends
        # the run: two runs that use each other's files would lock each other out there.
        sessions.keep_alive({file.session_id for file in workspace.files.values()} | {session.pk})
        clock.lap("inputs")
        wait = pool.Wait(deadline=deadline, heartbeat=lease.renew, abandoned=abandoned)
        try:
            claim, channel = _open(execution, workspace, wait, clock)
        except WorkspaceFull as error:
            return keeping.keep_verdict(lease, execution, failure(str(error)), clock)
        try:
            with channel:
                execution.container, execution.container_source = claim.container, claim.source
                execution.save(update_fields=["container", "container_source"])
                give_back_connection()
                result = channel.run(
                    language=request.language,
                    code=request.code.encode(errors="replace"),
                    args=request.args,
                    limits=run_limits(request.timeout_seconds),
                    abandoned=abandoned,
                )
                clock.lap("run")
                collected = bring_out(channel, workspace.files)
            clock.lap("collect")
            ended = keeping.Ended(claim, workspace, collected, result, judge(result))
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
    execution: Execution, workspace: Workspace, wait: pool.Wait, clock: StepClock
) -> tuple[Claim, Channel]:
    """A container with the run's files in it. Nothing of the program has run yet, so a container
    that turns out to be dead is simply replaced."""
    for _ in range(ATTEMPTS):
        claim = pool.claim(execution, wait)
        clock.lap("claim")
        try:
            channel = Channel(engine().attach(claim.container.name), heartbeat=wait.heartbeat)
            try:
                workspace.drop(bring_in(channel, claim.container, workspace.files))
            except BaseException:
                channel.close()
                raise
        except ContainerLost as error:
            pool.discard(claim.container, f"found dead: {error}")
            continue
        except SandboxFileNotFound:
            # Deleted, or expired, since it was looked for: the next attempt goes without it.
            pool.discard(claim.container, "one of its files has gone")
            continue
        except BaseException:
            pool.discard(claim.container, "its files could not be brought in")
            raise
        clock.lap("files_in")
        return claim, channel
    raise ContainerLost("The sandbox died before the run")


def run_limits(timeout_seconds: float | None) -> RunLimits:
    """A request may ask for less time than the default, or for more up to the setting."""
    wanted = timeout_seconds or settings.SANDBOX_RUN_SECONDS
    wall = min(wanted, settings.SANDBOX_MAX_RUN_SECONDS)
    return RunLimits(
        wall_seconds=wall,
        cpu_seconds=int(wall) + 1,
        output_bytes=settings.SANDBOX_OUTPUT_BYTES,
    )
