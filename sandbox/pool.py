"""Containers: claimed by runs, kept warm by the keeper, evicted when room is needed.

Workers race by conditional updates; whoever changes the row owns the container. Every container
has its row before the engine is asked, so that none is ever without an owner for long.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from audit.models import Execution, SandboxContainer, SandboxSession
from sandbox.channel import Channel
from sandbox.confinement import confinement
from sandbox.engines import engine
from sandbox.errors import AtCapacity, ContainerLost, EngineUnavailable, SandboxError
from sandbox.runner.protocol import VERSION
from sandbox.wire import nothing

logger = logging.getLogger(__name__)

State = SandboxContainer.State

CHANNEL = "sandbox_pool"
# Any number, the same in every process of an installation.
CAPACITY_LOCK = 7_245_001
# A container that takes longer than this to answer is broken, on any machine.
START_SECONDS = 60.0
POLL_SECONDS = 0.05

# An oldest-first claim that skips what another worker is just claiming, in one statement.
CLAIM_WARM = """
    UPDATE audit_sandboxcontainer SET state = 'leased', session_id = %s, last_used_at = now()
    WHERE id = (
        SELECT id FROM audit_sandboxcontainer WHERE state = 'warm' AND image = %s
        ORDER BY ready_at LIMIT 1 FOR UPDATE SKIP LOCKED
    ) RETURNING *
"""
EVICT_IDLE = """
    UPDATE audit_sandboxcontainer SET state = 'gone', ended_at = now(), end_reason = %s
    WHERE id = (
        SELECT id FROM audit_sandboxcontainer WHERE state = 'idle'
        ORDER BY last_used_at LIMIT 1 FOR UPDATE SKIP LOCKED
    ) RETURNING *
"""


def never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Claim:
    container: SandboxContainer
    source: Execution.Source


def image() -> str:
    """What a container must have been made from to be of use to this server."""
    return f"{settings.SANDBOX_IMAGE} runner {VERSION}"


def labels(container: SandboxContainer) -> dict[str, str]:
    return {
        "interpreter.installation": settings.SANDBOX_INSTALLATION,
        "interpreter.container": container.pk,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """How a run waits for a container: until `deadline`, in `time.monotonic()` seconds, or until
    it is `abandoned`; `heartbeat` is called all the while."""

    deadline: float
    heartbeat: Callable[[], None] = nothing
    abandoned: Callable[[], bool] = never


def claim(execution: Execution, wait: Wait) -> Claim:
    """A container for one run of a leased session: its own, a warm one or a new one. Runs that
    find no room wait in line."""
    execution.supersede()
    own = _claim_own(execution.session)
    if own:
        return Claim(own, Execution.Source.SESSION)
    while True:
        if not Execution.objects.ahead_of(execution).exists():
            warm = _claim_warm(execution.session)
            if warm:
                notify()
                return Claim(warm, Execution.Source.POOL)
            reserved = _make_room(execution.session)
            if reserved:
                # Those behind it in line need not wait until it has started.
                Execution.objects.filter(pk=execution.pk).update(container=reserved)
                return Claim(start(reserved, wait.heartbeat), Execution.Source.CREATED)
        if execution.queued_at is None:
            execution.queue()
        if time.monotonic() > wait.deadline or wait.abandoned():
            raise AtCapacity("All sandbox containers are busy")
        wait.heartbeat()
        time.sleep(POLL_SECONDS)


def _make_room(session: SandboxSession) -> SandboxContainer | None:
    reserved = reserve(session=session)
    if reserved is None and evict_one("evicted for another session"):
        reserved = reserve(session=session)
    return reserved


def _claim_own(session: SandboxSession) -> SandboxContainer | None:
    own = SandboxContainer.objects.filter(
        session=session, state__in=[State.IDLE, State.LEASED]
    ).first()
    if own is None:
        return None
    if own.state == State.LEASED:
        # We hold the session's lease, so whoever leased this container is gone without a word.
        discard(own, "left behind by a run that did not finish")
        return None
    if own.image != image():
        discard(own, "made from an older image")
        return None
    mine = SandboxContainer.objects.idle().filter(pk=own.pk)
    if not mine.update(state=State.LEASED, last_used_at=timezone.now()):
        return None
    own.state = State.LEASED
    return own


def _claim_warm(session: SandboxSession) -> SandboxContainer | None:
    return next(iter(SandboxContainer.objects.raw(CLAIM_WARM, [session.pk, image()])), None)


def reserve(*, session: SandboxSession | None = None) -> SandboxContainer | None:
    """Room for one more container, as a row; None when the engine is full."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CAPACITY_LOCK])
        if SandboxContainer.objects.occupying().count() >= settings.SANDBOX_MAX_CONTAINERS:
            return None
        return SandboxContainer.objects.create(
            image=image(),
            session=session,
            state=State.LEASED if session else State.STARTING,
        )


def start(container: SandboxContainer, heartbeat: Callable[[], None] = nothing) -> SandboxContainer:
    """Create the reserved container and wait until its runner answers."""
    try:
        engine().create(container.name, labels=labels(container), confinement=confinement())
        heartbeat()
        with Channel(engine().attach(container.name), heartbeat=heartbeat) as channel:
            channel.hello(timeout=START_SECONDS)
    except SandboxError as error:
        discard(container, f"did not start: {error}")
        # Of a dead engine's failures none may take up room. Should the engine have made the
        # container after all, the keeper finds it by its label.
        SandboxContainer.objects.filter(pk=container.pk).update(removed_at=timezone.now())
        raise
    container.ready_at = timezone.now()
    SandboxContainer.objects.filter(pk=container.pk).update(ready_at=container.ready_at)
    return container


def fill(container: SandboxContainer) -> bool:
    """Start a reserved container for the pool."""
    try:
        start(container)
    except EngineUnavailable:
        # It never ran, and the keeper tries again every second, for as long as it lasts.
        container.delete()
        raise
    reserved = SandboxContainer.objects.filter(pk=container.pk, state=State.STARTING)
    return bool(reserved.update(state=State.WARM))


def evict_one(reason: str) -> bool:
    """Remove the idle container that was used least recently. Its files are in the store."""
    idle = next(iter(SandboxContainer.objects.raw(EVICT_IDLE, [reason])), None)
    return idle is not None and remove(idle)


def discard(container: SandboxContainer, reason: str) -> None:
    """End a container that is not to be used again."""
    SandboxContainer.objects.filter(pk=container.pk, ended_at=None).update(
        state=State.GONE, ended_at=timezone.now(), end_reason=reason[:100]
    )
    remove(container)


def remove(container: SandboxContainer) -> bool:
    """Remove an ended container from the engine; if that fails now, the keeper tries again."""
    try:
        engine().remove(container.name)
    except (EngineUnavailable, ContainerLost):
        logger.debug("could not remove %s, the keeper will", container.name)
        return False
    SandboxContainer.objects.filter(pk=container.pk).update(removed_at=timezone.now())
    return True


def notify() -> None:
    """Wake the keeper."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])
