"""A run while it goes on: what it has written so far goes out, and an operator's stop comes in.

The run is in one process and whoever watches it in another, maybe on another host, so both meet in
the database: about once a second, and only for a run that has lasted as long.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field

from django.db import DatabaseError

from audit import recording
from audit.models import Execution, LiveRun
from sandbox.channel import OutputSoFar
from sandbox.database import give_back_connection
from sandbox.errors import Stopped
from sandbox.outcome import STOPPED
from sandbox.services.keeping import storable
from sandbox.services.requests import Abandoned

logger = logging.getLogger(__name__)

SECONDS = 1.0
# With the database away, each look may take as long as its pool waits for a connection.
SECONDS_AFTER_FAILURE = 10.0
# Of each stream.
TAIL_BYTES = 8 * 1024


@dataclass(slots=True)
class Progress:
    """One run's. Without the database the run goes on all the same."""

    execution: Execution
    abandoned: Abandoned
    output: OutputSoFar = field(default_factory=OutputSoFar)
    is_stopped: bool = False
    _due: float = field(default_factory=lambda: time.monotonic() + SECONDS)
    _published: tuple[int, int] = (0, 0)

    def is_over(self) -> bool:
        """For a run in its container, several times a second: whether it is to be killed."""
        if not self.is_stopped and time.monotonic() >= self._due:
            self._due = time.monotonic() + SECONDS
            try:
                self._meet()
            except DatabaseError as error:
                logger.warning("nobody can watch or stop %s: %s", self.execution.pk, error)
                self._due = time.monotonic() + SECONDS_AFTER_FAILURE
            finally:
                give_back_connection()
        return self.is_stopped or self.abandoned()

    def waits_in_vain(self) -> bool:
        """The same for a run that waits. There is no program yet whose end could be the answer."""
        is_over = self.is_over()
        if self.is_stopped:
            raise Stopped(STOPPED)
        return is_over

    def end(self) -> None:
        """Its execution has all of it now. What a worker leaves that cannot, the keeper removes."""
        if self.is_stopped or any(self._published):
            with suppress(DatabaseError):
                LiveRun.objects.filter(execution=self.execution).delete()

    def _meet(self) -> None:
        row = LiveRun.objects.filter(execution=self.execution)
        self.is_stopped = row.asked_to_stop().exists()
        written = len(self.output.stdout), len(self.output.stderr)
        # What its row will not have, nobody is shown before either.
        if written != self._published and self.execution.output_record == Execution.Record.STORED:
            LiveRun.objects.publish(
                LiveRun(
                    execution=self.execution,
                    stdout=self._shown(self.output.stdout),
                    stderr=self._shown(self.output.stderr),
                    stdout_bytes=written[0],
                    stderr_bytes=written[1],
                )
            )
            self._published = written

    def _shown(self, output: bytearray) -> str:
        """All of it is looked through, as a secret may have begun before the end that is shown; and
        of a text that goes on, the last word may be the beginning of one."""
        text = storable(output.decode(errors="replace"))
        return tail(recording.of_output(self.execution, text, cut=True))


def tail(text: str) -> str:
    """The end of it, from a whole character on."""
    end = text[-TAIL_BYTES:].encode(errors="replace")
    return end[-TAIL_BYTES:].decode(errors="ignore")
