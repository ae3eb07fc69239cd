from __future__ import annotations

import logging
import signal
import time
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, connection

from audit import chain, retention
from audit.models import SandboxContainer
from sandbox import keeper, pool
from sandbox.census import Census
from sandbox.errors import SandboxError

logger = logging.getLogger(__name__)

TIDY_SECONDS = 5.0
# How often it is looked who is missing, once somebody is.
COUNT_SECONDS = 1.0
SWEEP_SECONDS = 3600.0
PRUNE_SECONDS = 24 * 3600.0
# At a time, of linking and pruning: the pool must not wait for a year's executions.
AUDIT_SECONDS = 5.0
# To start a container takes all the CPU that there is for a second. While another one is left, the
# run that has taken one comes first: most are over by then.
FIRST_SECONDS = 0.1


def prune_audit_log() -> bool:
    """Whether it is done for today. Where the log of this process is kept elsewhere, so is the
    chain's head."""
    chain.link(seconds=AUDIT_SECONDS)
    removed = retention.prune(seconds=AUDIT_SECONDS)
    logger.info("pruned the audit log: %s; its head: entry %s", removed, chain.head())
    return removed.is_complete


class Stop(BaseException):
    """SIGTERM or SIGINT came. As KeyboardInterrupt is, it is none of the exceptions that anybody
    catches: the second signal is ignored, so the first must not be lost in a log handler."""


class Command(BaseCommand):
    help = "Keep the pool warm, evict, expire and clean up, until stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--drain",
            action="store_true",
            help="remove all containers of this installation when stopped",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            self._loop()
        except Stop:
            logger.info("stopping")
        if options["drain"]:
            keeper.drain()

    def _stop(self, number: int, frame: object) -> None:
        # A second signal must not interrupt the draining.
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        raise Stop

    def _loop(self) -> None:
        counted = tidied = swept = linked = pruned = float("-inf")
        census = Census()
        linked_until: datetime | None = None
        trouble = ""
        while True:
            try:
                if time.monotonic() - counted > COUNT_SECONDS:
                    if census.end_leases_of_dead():
                        tidied = float("-inf")
                    counted = time.monotonic()
                if time.monotonic() - tidied > TIDY_SECONDS:
                    keeper.tidy()
                    tidied = time.monotonic()
                keeper.refill()
                if time.monotonic() - swept > SWEEP_SECONDS:
                    keeper.sweep_store()
                    swept = time.monotonic()
                if time.monotonic() - linked > TIDY_SECONDS:
                    found = chain.link(linked_until, seconds=AUDIT_SECONDS)
                    linked_until = found.complete_until or linked_until
                    linked = time.monotonic()
                if time.monotonic() - pruned > PRUNE_SECONDS and prune_audit_log():
                    pruned = time.monotonic()
                self._wait(COUNT_SECONDS if census.missing else None)
                trouble = ""
            except (DatabaseError, SandboxError) as error:
                # Once, not every second for as long as it lasts.
                if str(error) != trouble:
                    logger.warning("will try again until it works: %s", error)
                trouble = str(error)
                connection.close()
                time.sleep(1)
            except Exception:
                logger.exception("a pass failed, will try again")
                time.sleep(TIDY_SECONDS)

    def _wait(self, seconds: float | None = None) -> None:
        """Until a run takes a container from the pool, or it is time to tidy up."""
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {pool.CHANNEL}")
            # Whoever claimed between the refill and this line was not heard: look once more.
            if not keeper.can_refill():
                with connection.wrap_database_errors:
                    heard = cursor.connection.notifies(
                        timeout=seconds or TIDY_SECONDS, stop_after=1
                    )
                    is_claimed = bool(list(heard))
                if is_claimed and SandboxContainer.objects.warm().exists():
                    time.sleep(FIRST_SECONDS)
