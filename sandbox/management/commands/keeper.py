from __future__ import annotations

import logging
import signal
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, connection

from audit.models import SandboxContainer
from sandbox import keeper, pool
from sandbox.errors import SandboxError

logger = logging.getLogger(__name__)

TIDY_SECONDS = 5.0
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
        tidied = swept = float("-inf")
        trouble = ""
        while True:
            try:
                if time.monotonic() - tidied > TIDY_SECONDS:
                    keeper.tidy()
                    tidied = time.monotonic()
                keeper.refill()
                if time.monotonic() - swept > SWEEP_SECONDS:
                    keeper.sweep_store()
                    swept = time.monotonic()
                self._wait()
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

    def _wait(self) -> None:
        """Until a run takes a container from the pool, or it is time to tidy up."""
        with connection.cursor() as cursor:
            cursor.execute(f"SET application_name = '{keeper.APPLICATION}'")
            cursor.execute(f"LISTEN {pool.CHANNEL}")
            # Whoever claimed between the refill and this line was not heard: look once more.
            if not keeper.can_refill():
                with connection.wrap_database_errors:
                    heard = cursor.connection.notifies(timeout=TIDY_SECONDS, stop_after=1)
                    is_claimed = bool(list(heard))
                if is_claimed and SandboxContainer.objects.warm().exists():
                    time.sleep(FIRST_SECONDS)
