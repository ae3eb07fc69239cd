"""What the audit log needs that no request waits for: entries in its chain, sums for the dashboard,
an index for the search, and an end to what was kept for long enough.

It goes on beside the keeper's other work: a pool that is not filled makes users wait.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime

from django.db import DatabaseError, connection

from audit import chain, retention, search
from audit.statistics import rolling

logger = logging.getLogger(__name__)

PASS_SECONDS = 5.0
PRUNE_SECONDS = 24 * 3600.0
# Of each kind of work, in a pass that has much to catch up with.
WORK_SECONDS = 5.0
STOP_SECONDS = 10.0


def prune() -> bool:
    """Whether it is done for today. Where the log of this process is kept elsewhere, so is the
    chain's head."""
    chain.link(seconds=WORK_SECONDS)
    removed = retention.prune(seconds=WORK_SECONDS)
    logger.info("pruned the audit log: %s; its head: entry %s", removed, chain.head())
    return removed.is_complete


class Upkeep:
    def __init__(self) -> None:
        self._linked_until: datetime | None = None
        self._pruned = float("-inf")

    def pass_once(self) -> None:
        found = chain.link(self._linked_until, seconds=WORK_SECONDS)
        self._linked_until = found.complete_until or self._linked_until
        rolling.roll_up()
        search.note_ended()
        if time.monotonic() - self._pruned > PRUNE_SECONDS and prune():
            self._pruned = time.monotonic()


class UpkeepThread:
    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Each pass is done in transactions: one that is given up has begun nothing."""
        self._stopping.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        upkeep = Upkeep()
        trouble = ""
        while True:
            try:
                upkeep.pass_once()
                trouble = ""
            except DatabaseError as error:
                # Once, not each time for as long as it lasts.
                if str(error) != trouble:
                    logger.warning("the audit log will be seen to later: %s", error)
                trouble = str(error)
            except Exception:
                logger.exception("the audit log could not be seen to, will try again")
            finally:
                connection.close()
            if self._stopping.wait(PASS_SECONDS):
                return
