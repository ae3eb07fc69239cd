"""What the audit log needs that no request waits for: entries in its chain, sums for the dashboard,
an index for the search, and an end to what was kept for long enough.

It goes on beside the keeper's other work: a pool that is not filled makes users wait.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime

from audit import chain, retention, search
from audit.statistics import rolling
from sandbox.passes import do_each

logger = logging.getLogger(__name__)

PASS_SECONDS = 5.0
PRUNE_SECONDS = 24 * 3600.0
# Of each kind of work, in a pass that has much to catch up with.
WORK_SECONDS = 5.0


class Upkeep:
    def __init__(self) -> None:
        self._linked_until: datetime | None = None
        self._pruned = float("-inf")
        self._is_pruning = False

    def pass_once(self) -> None:
        do_each(self._link, rolling.roll_up, search.note_ended, self._prune)

    def _link(self) -> None:
        found = chain.link(self._linked_until, seconds=WORK_SECONDS)
        self._linked_until = found.complete_until or self._linked_until

    def _prune(self) -> None:
        """Once a day, in as many passes as it takes. Where the log of this process is kept
        elsewhere, so is the chain's head."""
        if time.monotonic() - self._pruned < PRUNE_SECONDS:
            return
        is_first, self._is_pruning = not self._is_pruning, True
        if is_first:
            # All there is, where other passes look at what is new.
            chain.link(seconds=WORK_SECONDS)
        removed = retention.prune(seconds=WORK_SECONDS)
        logger.info("pruned the audit log: %s; its head: entry %s", removed, chain.head())
        if removed.is_complete:
            self._pruned, self._is_pruning = time.monotonic(), False
