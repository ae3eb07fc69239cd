"""What the keeper says of itself, and when it runs a program of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from django.conf import settings
from django.db import DatabaseError, connection

from audit.models import Report
from sandbox import canary, metrics
from sandbox.errors import SandboxError
from sandbox.parts import FINE, OK, Part, part_of

logger = logging.getLogger(__name__)

REPORT_SECONDS = 5.0
# After a run that went wrong, so that what was mended is soon seen to be; then twice as long each
# time, as each takes a container.
AGAIN_SECONDS = 5.0
STOP_SECONDS = 10.0


class Pulse:
    """Of the keeper's passes, written down now and then."""

    def __init__(self) -> None:
        self._said: tuple[str, str] = ("", "")
        self._said_at = float("-inf")
        self._began = 0.0

    def begin(self) -> None:
        self._began = time.monotonic()

    def end(self, failures: Sequence[Exception] = ()) -> None:
        """The first that has failed is told: a report has room for one part."""
        metrics.KEEPER_PASSES.labels("failed" if failures else "ok").inc()
        if not failures:
            metrics.KEEPER_PASS_SECONDS.observe(time.monotonic() - self._began)
            self._say(Part.KEEPER, OK)
            return
        # Of the database's there is nowhere to say it, and whoever asks sees it for himself.
        tellable = (error for error in failures if not isinstance(error, DatabaseError))
        if (error := next(tellable, None)) is None:
            return
        told = part_of(error) if isinstance(error, SandboxError) else (Part.KEEPER, "failing")
        with suppress(DatabaseError):
            self._say(*told)

    def _say(self, part: Part, word: str) -> None:
        now = time.monotonic()
        if (part, word) == self._said and now - self._said_at < REPORT_SECONDS:
            return
        Report.say(Report.Name.KEEPER, {"part": part, "word": word})
        self._said, self._said_at = (part, word), now


class CanaryThread:
    """Has the canary run beside the keeper's work, which it must not hold up."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._due = float("-inf")
        self._again = AGAIN_SECONDS
        self._stopping = threading.Event()

    def start_if_due(self) -> None:
        if not settings.HEALTH_RUN_SECONDS or time.monotonic() < self._due:
            return
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._check, name="canary", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread:
            self._thread.join(STOP_SECONDS)

    def _check(self) -> None:
        interval: float = settings.HEALTH_RUN_SECONDS / 2
        is_well = False
        began = time.monotonic()
        try:
            is_well = canary.check(self._stopping.is_set).result in FINE
        except DatabaseError as error:
            logger.warning("the canary's run could not be noted: %s", error)
        except Exception:
            logger.exception("the canary's run could not be made")
        finally:
            connection.close()
        self._due = began + (interval if is_well else min(interval, self._again))
        self._again = AGAIN_SECONDS if is_well else 2 * self._again
