"""What must happen without a request: refill, evict, expire, clean up after crashes.

Each function is one pass, safe to run at any time and in several processes at once.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db import DatabaseError
from django.db.models import F, Q
from django.utils import timezone

from audit.models import Execution, LiveRun, SandboxContainer, SandboxSession
from keys import throttling
from keys.limits import Limits
from keys.models import APIKey
from sandbox import images, metrics, pool, quotas, rollout, store_keeper
from sandbox.engines import engine
from sandbox.errors import ImageMissing, SandboxError
from sandbox.passes import do_each

logger = logging.getLogger(__name__)

State = SandboxContainer.State

# What its connection to the database is called, so that one can see from elsewhere that it works.
APPLICATION = "interpreter-keeper"
SLOW_START = timedelta(seconds=30)
# While containers start, how often it is looked whether the pool needs more of them.
LOOK_SECONDS = 0.2
# At capacity an idle container makes room for a hot one only after so long: more than a model
# takes from one tool call of its turn to the next. Under load none is idle for as long, and to
# recycle it costs a hundredth of a new one.
SPARE_SECONDS = 30.0
EVERY = Q()


def tidy() -> None:
    """Everything but filling the pool and what the file store has to be asked for, which is
    `store_keeper`'s. First what needs nothing but the database."""
    do_each(
        lambda: metrics.count_work("execution", abort_executions()),
        throttling.prune,
        quotas.sweep,
        remove_live_runs,
        lambda: metrics.count_work("session", end_sessions()),
        end_containers,
        rollout.retire_older_builds,
        remove_strays,
    )


def reap_sessions(among: Q = EVERY) -> int:
    """End expired sessions. Their rows stay for the audit; their containers and files go."""
    reaped = end_sessions(among)
    store_keeper.delete_files_of_ended()
    return reaped


def end_sessions(among: Q = EVERY) -> int:
    """And their containers, in which nothing is that is not in the store."""
    sessions = SandboxSession.objects.filter(among)
    reaped = sessions.expired().unleased().update(ended_at=timezone.now())
    # Not only of these: a hint that is used again ends its expired session, and a reaper may have
    # crashed.
    ended = sessions.unleased().exclude(ended_at=None)
    for container in SandboxContainer.objects.idle().filter(session__in=ended):
        # Another session of the same user may have claimed it meanwhile.
        if SandboxContainer.objects.idle().filter(pk=container.pk).update(state=State.GONE):
            pool.discard(container, "its session expired")
    return reaped


def remove_live_runs() -> None:
    LiveRun.objects.of_ended_runs().delete()


def abort_executions() -> int:
    """Mark the runs of workers that died: whoever has or had a lease on the session has lost it. A
    run that is still waiting for its turn never had one and is given the time to get it."""
    dead = Execution.objects.running().filter(
        Q(session__lease_expires_at=None)
        | Q(session__lease_expires_at__lt=timezone.now())
        | ~Q(session__lease_token=F("lease_token"))
    )
    waited = timezone.now() - timedelta(seconds=2 * settings.SANDBOX_QUEUE_SECONDS + 60)
    return dead.filter(~Q(lease_token="") | ~Q(container=None) | Q(created_at__lt=waited)).update(
        status=Execution.Status.ABORTED,
        message="The server stopped during the run",
        ended_at=timezone.now(),
    )


def end_containers() -> None:
    """End containers that nobody uses, or whose user died."""
    now = timezone.now()
    containers = SandboxContainer.objects
    idle_since = now - timedelta(seconds=settings.SANDBOX_IDLE_SECONDS)
    while containers.idle().filter(last_used_at__lt=idle_since).exists():
        if not pool.evict_one("idle"):
            break
    orphaned = containers.filter(state=State.LEASED).filter(
        Q(session=None) | Q(session__lease_expires_at=None) | Q(session__lease_expires_at__lt=now)
    )
    for container in orphaned:
        pool.discard(container, pool.LEFT_BEHIND)
    stuck = now - timedelta(seconds=2 * pool.START_SECONDS)
    for container in containers.filter(state=State.STARTING, created_at__lt=stuck):
        pool.discard(container, "did not start")
    of_use = Q()
    for name in pool.sizes():
        of_use |= Q(**pool.of_use(None, name))
    for container in containers.filter(state=State.WARM).exclude(of_use):
        pool.discard(container, pool.OUTDATED)
    end_with_other_limits()
    for container in containers.occupying().filter(state=State.GONE):
        pool.remove(container)


def end_with_other_limits() -> None:
    """End idle containers that their key cannot use any more, since its limits or its image, or the
    server's, were changed."""
    idle = SandboxContainer.objects.idle()
    for container in idle.exclude(session=None).select_related("session__key__issuer"):
        key = container.session.key if container.session else None
        if _has_limits_and_image_of(container, key):
            continue
        # A run that has read the key before the change may have claimed it meanwhile.
        if idle.filter(pk=container.pk).update(state=State.GONE):
            pool.discard(container, pool.OUTDATED)


def _has_limits_and_image_of(container: SandboxContainer, key: APIKey | None) -> bool:
    try:
        wanted = images.tag(images.of_key(key))
    except ImageMissing:
        return False
    return (pool.tag_of(container), container.limits) == (wanted, Limits.of(key).of_container())


def remove_strays() -> None:
    """Make rows and engine agree. The rows are read before the engine for what should run, and
    after it for what should not, so that a container just made or removed is never mistaken."""
    expected = SandboxContainer.objects.filter(state__in=[State.WARM, State.IDLE])
    expected_ids = set(expected.values_list("pk", flat=True))
    present = {info.name: info for info in engine().list()}
    for container in SandboxContainer.objects.filter(pk__in=expected_ids):
        info = present.get(container.name)
        if info is None or not info.running:
            still = SandboxContainer.objects.filter(
                pk=container.pk, state__in=[State.WARM, State.IDLE]
            )
            if still.update(state=State.GONE, ended_at=timezone.now(), end_reason="died"):
                logger.warning("container %s has died", container.name)
                metrics.count_work("dead", 1)
                pool.remove(container)
                present.pop(container.name, None)
    live = {c.name for c in SandboxContainer.objects.exclude(state=State.GONE)}
    for name in present.keys() - live:
        logger.info("removing stray container %s", name)
        metrics.count_work("stray", 1)
        engine().remove(name)


def refill(*, seconds: float = 5.0) -> int:
    """Start containers until the pool is full, several at a time; how many it has got. Under a
    load that takes them as fast, it comes back for the keeper's other work after some time."""
    deadline = time.monotonic() + seconds
    starting: dict[Future[bool], SandboxContainer] = {}
    admitted = 0
    try:
        with ThreadPoolExecutor(settings.SANDBOX_POOL_STARTS) as starters:
            while True:
                while len(starting) < settings.SANDBOX_POOL_STARTS and time.monotonic() < deadline:
                    reserved = _reserve()
                    if reserved is None:
                        break
                    start = partial(pool.boot, reserved, hot_within=pool.HOT_SECONDS)
                    starting[starters.submit(start)] = reserved
                if not starting:
                    return admitted
                for done in wait(starting, LOOK_SECONDS, FIRST_COMPLETED).done:
                    admitted += pool.admit(starting.pop(done), done.result)
    finally:
        # After a failure, or a signal: the threads have ended, and nobody knows of the others.
        for done, container in starting.items():
            with suppress(SandboxError):
                pool.admit(container, done.result)


def _reserve() -> SandboxContainer | None:
    """Room for one more container of the pool, if it needs any and there is some."""
    name = lacking()
    if name is None or not pool.has_room(idle_seconds=SPARE_SECONDS):
        return None
    reserved = pool.reserve(image_name=name)
    if reserved is None and pool.evict_one("evicted for the pool", idle_seconds=SPARE_SECONDS):
        reserved = pool.reserve(image_name=name)
    return reserved


def can_refill() -> bool:
    """Whether the pool needs a container, and there is room for one or some can be made."""
    return not pool_is_full() and pool.has_room(idle_seconds=SPARE_SECONDS)


def pool_is_full() -> bool:
    return lacking() is None


def lacking() -> str | None:
    """The first image of which too few containers wait, if there is one."""
    return next((name for name, size in pool.sizes().items() if _waiting(name) < size), None)


def _waiting(image_name: str) -> int:
    # One that takes much longer has nobody who waits for it: the database was away when it was
    # ready, or its keeper died.
    starting = Q(state=State.STARTING, created_at__gt=timezone.now() - SLOW_START)
    of_use = pool.of_use(None, image_name)
    return SandboxContainer.objects.filter(Q(state=State.WARM) | starting, **of_use).count()


def drain() -> None:
    """Remove every container of this installation; the files are in the store."""
    try:
        for container in SandboxContainer.objects.exclude(state=State.GONE):
            pool.discard(container, "the service stopped")
        remove_strays()
    except DatabaseError as error:
        # It may have been stopped first. The keeper's next start finds the rows without containers.
        logger.warning("removing containers without the database: %s", error)
        for info in engine().list():
            engine().remove(info.name)
