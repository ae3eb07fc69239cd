"""Another build of an image under the name of the one before, and how containers go over to it.

Nobody is told: the engine knows which build a container was made from, and which one the name
means now. New containers are of the new build by themselves. What runs in an older one goes on in
it until it ends; a session's files are in the store, so its next run finds them in a container of
the new one.
"""

from __future__ import annotations

import logging

from audit.models import SandboxContainer
from sandbox import pool
from sandbox.engines import engine

logger = logging.getLogger(__name__)

State = SandboxContainer.State

REASON = "made from an older build of its image"


def retire_older_builds() -> int:
    """End containers of older builds that nobody uses: of the idle ones all, of those that wait in
    the pool the one that has waited longest, so that it never runs empty for this."""
    builds = {info.name: info.image_id for info in engine().list() if info.running}
    current: dict[str, str] = {}
    retired, one_waited = 0, False
    unused = SandboxContainer.objects.filter(state__in=[State.IDLE, State.WARM])
    for container in unused.order_by("created_at"):
        tag = pool.tag_of(container)
        build = builds.get(container.name)
        # Not known of one that an earlier version of this server has made.
        if not build or (container.state == State.WARM and one_waited):
            continue
        if tag not in current:
            image = engine().image(tag)
            # Without the image there is nothing to go over to.
            current[tag] = image.id if image else ""
        if not current[tag] or build == current[tag]:
            continue
        if _retire(container):
            retired += 1
            one_waited |= container.state == State.WARM
    return retired


def _retire(container: SandboxContainer) -> bool:
    """Unless a run has claimed it meanwhile."""
    still = SandboxContainer.objects.filter(pk=container.pk, state=container.state)
    if not still.update(state=State.GONE):
        return False
    logger.info("container %s is retired: %s", container.name, REASON)
    pool.discard(container, REASON)
    return True
