"""Containers: started, evicted when room is needed, removed.

Every one has its row before the engine is asked, so that none is ever without an owner for long.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from audit.models import SandboxContainer, SandboxSession
from keys.limits import Limits
from keys.models import APIKey
from sandbox import images, metrics
from sandbox.channel import Channel
from sandbox.confinement import confinement
from sandbox.engines import engine
from sandbox.errors import ContainerLost, EngineUnavailable, SandboxError
from sandbox.runner.protocol import VERSION
from sandbox.wire import nothing

logger = logging.getLogger(__name__)

State = SandboxContainer.State

CHANNEL = "sandbox_pool"
# Any number, the same in every process of an installation.
CAPACITY_LOCK = 7_245_001
# A container that takes longer than this to answer is broken, on any machine.
START_SECONDS = 60.0
# How long a container for the pool is given to get hot, once its runner answers. After that it
# serves as it is: slower, never wrong.
HOT_SECONDS = 15.0

LEFT_BEHIND = "left behind by a run that did not finish"
OUTDATED = "made from another image or with other limits"

EVICT_IDLE = """
    UPDATE audit_sandboxcontainer SET state = 'gone', ended_at = now(), end_reason = %(reason)s
    WHERE id = (
        SELECT id FROM audit_sandboxcontainer WHERE state = 'idle' AND last_used_at <= %(before)s
        ORDER BY last_used_at LIMIT 1 FOR UPDATE SKIP LOCKED
    ) RETURNING *
"""


def image(name: str = "") -> str:
    """What a container must have been made from to be of use to this server. The limits are in it:
    a container from before they were tightened is not to serve after that."""
    tag = images.tag(name)
    return f"{tag} runner {VERSION} limits {confinement(image=tag).digest}"


def tag_of(container: SandboxContainer) -> str:
    """The engine's name of the image that it was made from."""
    return container.image.partition(" ")[0]


def of_use(key: APIKey | None, image_name: str = "") -> dict[str, str]:
    """What a container's row must say for it to be of use to a key; to the pool, where there is
    none: a key with limits of its own takes no container from there, and one with an image of its
    own only those of that image."""
    name = images.of_key(key) if key else image_name
    limits = key.limits if key else Limits.of()
    return {"image": image(name), "limits": limits.of_container()}


def sizes() -> dict[str, int]:
    """How many containers wait in the pool, by the names of their images."""
    further: dict[str, int] = settings.SANDBOX_IMAGE_POOL_SIZES
    return {images.DEFAULT: settings.SANDBOX_POOL_SIZE} | further


def labels(container: SandboxContainer) -> dict[str, str]:
    return {
        "interpreter.installation": settings.SANDBOX_INSTALLATION,
        "interpreter.container": container.pk,
    }


def reserve(
    *,
    session: SandboxSession | None = None,
    key: APIKey | None = None,
    image_name: str = "",
) -> SandboxContainer | None:
    """Room for one more container, as a row; None when the engine is full."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CAPACITY_LOCK])
        if _is_full():
            return None
        return SandboxContainer.objects.create(
            **of_use(key, image_name),
            session=session,
            state=State.LEASED if session else State.STARTING,
        )


def has_room(*, idle_seconds: float = 0.0) -> bool:
    """Whether there is room for a container, or one has been idle for so long and may make some."""
    before = timezone.now() - timedelta(seconds=idle_seconds)
    idle = SandboxContainer.objects.idle().filter(last_used_at__lte=before)
    return not _is_full() or idle.exists()


def _is_full() -> bool:
    most: int = settings.SANDBOX_MAX_CONTAINERS
    return SandboxContainer.objects.occupying().count() >= most


def boot(
    container: SandboxContainer,
    heartbeat: Callable[[], None] = nothing,
    *,
    key: APIKey | None = None,
    hot_within: float = 0.0,
) -> bool:
    """Create the reserved container and wait until its runner answers; whether it is hot by then.

    It starts with more CPU than it may have later: this is our work, and somebody may wait for it.
    Does not touch the database, so that threads can do it.
    """
    limits = Limits.of(key)
    confined = confinement(limits, tag_of(container))
    # What gVisor has given a container it cannot take back.
    if not confined.under_gvisor:
        confined = replace(confined, cpus=max(settings.SANDBOX_WARMING_CPUS, limits.cpus))
    confined = confined.of_user(engine().new_uid())
    with metrics.starting():
        engine().create(container.name, labels=labels(container), confinement=confined)
        heartbeat()
        with Channel(engine().attach(container.name), heartbeat=heartbeat) as channel:
            hello = channel.hello(timeout=START_SECONDS, hot_within=hot_within)
    if not confined.under_gvisor:
        engine().limit_cpu(container.name, limits.cpus)
    return hello.hot


def start(
    container: SandboxContainer, key: APIKey, heartbeat: Callable[[], None] = nothing
) -> None:
    """Start a container for a run that waits for it."""
    try:
        hot = boot(container, heartbeat, key=key)
    except SandboxError as error:
        _forget(container, error)
        raise
    SandboxContainer.objects.filter(pk=container.pk).update(ready_at=timezone.now(), hot=hot)


def admit(container: SandboxContainer, booted: Callable[[], bool]) -> bool:
    """Take a container into the pool that a thread has started, unless that failed."""
    try:
        hot = booted()
    except EngineUnavailable as error:
        _forget(container, error)
        # It never ran, and the keeper tries again every second, for as long as it lasts.
        container.delete()
        raise
    except SandboxError as error:
        _forget(container, error)
        raise
    reserved = SandboxContainer.objects.filter(pk=container.pk, state=State.STARTING)
    return bool(reserved.update(state=State.WARM, ready_at=timezone.now(), hot=hot))


def _forget(container: SandboxContainer, error: SandboxError) -> None:
    discard(container, f"did not start: {error}")
    # Of a dead engine's failures none may take up room. Should the engine have made the
    # container after all, the keeper finds it by its label.
    SandboxContainer.objects.filter(pk=container.pk).update(removed_at=timezone.now())


def evict_one(reason: str, *, idle_seconds: float = 0.0) -> bool:
    """Remove the idle container that was used least recently, if that is so long ago. Its files
    are in the store."""
    before = timezone.now() - timedelta(seconds=idle_seconds)
    values = {"reason": reason, "before": before}
    idle = next(iter(SandboxContainer.objects.raw(EVICT_IDLE, values)), None)
    if idle is None:
        return False
    metrics.EVICTIONS.labels(reason).inc()
    return remove(idle)


def discard(container: SandboxContainer, reason: str) -> None:
    """End a container that is not to be used again."""
    try:
        SandboxContainer.objects.filter(pk=container.pk, ended_at=None).update(
            state=State.GONE, ended_at=timezone.now(), end_reason=reason[:100]
        )
    except DatabaseError:
        # Its row may say for a while that it can be used: then it had better not be there.
        with suppress(SandboxError):
            engine().remove(container.name)
        raise
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
