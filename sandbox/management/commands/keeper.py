from __future__ import annotations

import logging
import signal
import time
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connection

from audit.models import SandboxContainer
from sandbox import keeper, pool, store_keeper, upkeep
from sandbox.exporting import show_keeper
from sandbox.passes import PassThread, Troubles, failures_of
from sandbox.pulse import CanaryThread, Pulse
from sandbox.rounds import Rounds
from sandbox.store_keeper import StoreKeeper
from sandbox.upkeep import Upkeep

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
# To start a container takes all the CPU that there is for a second. While another one is left, the
# run that has taken one comes first: most are over by then.
FIRST_SECONDS = 0.1


class Stop(BaseException):
    """SIGTERM or SIGINT came. As KeyboardInterrupt is, it is none of the exceptions that anybody
    catches: the second signal is ignored, so the first must not be lost in a log handler."""


class Command(BaseCommand):
    help = "Keep the pool warm, evict, expire and clean up, until stopped."
    _is_stopping = False

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
        canary = CanaryThread()
        of_audit = PassThread("upkeep", Upkeep().pass_once, every_seconds=upkeep.PASS_SECONDS)
        of_store = PassThread(
            "file store", StoreKeeper().pass_once, every_seconds=store_keeper.PASS_SECONDS
        )
        try:
            of_audit.start()
            of_store.start()
            self._loop(canary, of_store)
        except Stop:
            logger.info("stopping")
        for thread in (canary, of_audit, of_store):
            thread.stop()
        if options["drain"]:
            keeper.drain()

    def _stop(self, number: int, frame: object) -> None:
        # A second signal must not interrupt the draining.
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        self._is_stopping = True
        raise Stop

    def _stop_at_last(self) -> None:
        """What a signal's handler raises in a finalizer, Python drops."""
        if self._is_stopping:
            raise Stop

    def _loop(self, canary: CanaryThread, of_store: PassThread) -> None:
        rounds, pulse, troubles = Rounds(), Pulse(), Troubles("keeper")
        while True:
            self._stop_at_last()
            pulse.begin()
            failures = failures_of(rounds.pass_once)
            failures += failures_of(partial(pulse.end, [*failures, *of_store.failures]))
            canary.start_if_due()
            if not failures:
                failures = failures_of(partial(self._wait, rounds.pause_seconds))
            troubles.note(failures)
            if failures:
                time.sleep(RETRY_SECONDS)

    def _wait(self, seconds: float | None) -> None:
        """Until a run takes a container from the pool, or it is time to tidy up."""
        with connection.cursor() as cursor:
            cursor.execute(f"SET application_name = '{keeper.APPLICATION}'")
            cursor.execute(f"LISTEN {pool.CHANNEL}")
            # Whoever claimed between the refill and this line was not heard: look once more.
            if not keeper.can_refill():
                self._stop_at_last()
                with connection.wrap_database_errors:
                    heard = cursor.connection.notifies(timeout=seconds, stop_after=1)
                    is_claimed = bool(list(heard))
                if is_claimed and SandboxContainer.objects.warm().exists():
                    time.sleep(FIRST_SECONDS)
