from __future__ import annotations

import logging
import signal
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, connection

from audit.models import SandboxContainer
from sandbox import keeper, pool
from sandbox.census import Census
from sandbox.errors import SandboxError
from sandbox.exporting import show_keeper
from sandbox.pulse import CanaryThread, Pulse
from sandbox.upkeep import UpkeepThread

logger = logging.getLogger(__name__)

TIDY_SECONDS = 5.0
# How often it is looked who is missing, once somebody is.
COUNT_SECONDS = 1.0
SWEEP_SECONDS = 3600.0
# To start a container takes all the CPU that there is for a second. While another one is left, the
# run that has taken one comes first: most are over by then.
FIRST_SECONDS = 0.1


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
        show_keeper()
        canary, upkeep = CanaryThread(), UpkeepThread()
        try:
            upkeep.start()
            self._loop(Pulse(), canary)
        except Stop:
            logger.info("stopping")
        canary.stop()
        upkeep.stop()
        if options["drain"]:
            keeper.drain()

    def _stop(self, number: int, frame: object) -> None:
        # A second signal must not interrupt the draining.
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        raise Stop

    def _loop(self, pulse: Pulse, canary: CanaryThread) -> None:
        counted = tidied = swept = float("-inf")
        census = Census()
        trouble = ""
        while True:
            pulse.begin()
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
                pulse.end()
                canary.start_if_due()
                self._wait(COUNT_SECONDS if census.missing else None)
                trouble = ""
            except (DatabaseError, SandboxError) as error:
                # Once, not every second for as long as it lasts.
                if str(error) != trouble:
                    logger.warning("will try again until it works: %s", error)
                trouble = str(error)
                connection.close()
                pulse.fail(error)
                canary.start_if_due()
                time.sleep(1)
            except Exception as error:
                logger.exception("a pass failed, will try again")
                pulse.fail(error)
                time.sleep(TIDY_SECONDS)

    def _wait(self, seconds: float | None = None) -> None:
        """Until a run takes a container from the pool, or it is time to tidy up."""
        with connection.cursor() as cursor:
            cursor.execute(f"SET application_name = '{keeper.APPLICATION}'")
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
