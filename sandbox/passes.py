"""Work that comes again and again, in parts of which one that fails does not keep the others from
being done."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from django.db import DatabaseError, Error, connection

from sandbox.errors import SandboxError

logger = logging.getLogger(__name__)

STOP_SECONDS = 10.0
Item = TypeVar("Item")


def do_each(*parts: Callable[[], object]) -> None:
    """Do all parts, and raise then what some of them have raised, as one group without groups in
    it. Only without the database is the rest not tried: each part would wait for it again."""
    failures: list[Exception] = []
    for part in parts:
        try:
            part()
        except ExceptionGroup as group:
            failures += group.exceptions
        except Exception as error:  # noqa: BLE001 - raised below
            failures.append(error)
        if failures and isinstance(failures[-1], Error) and not has_connection():
            break
    if failures:
        raise ExceptionGroup("parts of a pass have failed", failures)


def has_connection() -> bool:
    """After an error of the database. One that does not work is closed, so that the next question
    gets another."""
    if connection.connection is not None and connection.is_usable():
        return True
    if not connection.in_atomic_block:
        connection.close()
    return False


def within(seconds: float, items: Iterable[Item]) -> Iterator[Item]:
    """As many as the time allows; the first in any case, or nothing would ever get done."""
    deadline = time.monotonic() + seconds
    for item in items:
        yield item
        if time.monotonic() >= deadline:
            return


class Troubles:
    """What fails, written into the log once and not each time for as long as it lasts."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._known: frozenset[str] = frozenset()

    def note(self, failures: Sequence[Exception]) -> None:
        found = {f"{type(error).__name__}: {error}": error for error in failures}
        for text, error in found.items():
            if text not in self._known:
                is_expected = isinstance(error, (DatabaseError, SandboxError))
                logger.log(
                    logging.WARNING if is_expected else logging.ERROR,
                    "%s: will try again until it works: %s",
                    self._where,
                    text,
                    exc_info=None if is_expected else error,
                )
        self._known = frozenset(found)


class PassThread:
    """Passes beside the keeper's others, which must not wait for them: a pool that is not filled
    makes users wait."""

    def __init__(self, name: str, pass_once: Callable[[], None], *, every_seconds: float) -> None:
        self._pass_once = pass_once
        self._every_seconds = every_seconds
        self._troubles = Troubles(name)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        # Of the last pass.
        self.failures: Sequence[Exception] = ()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """What a pass does can be given up at any time: the next one takes it up again."""
        self._stopping.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while True:
            self.failures = failures_of(self._pass_once)
            self._troubles.note(self.failures)
            connection.close()
            if self._stopping.wait(self._every_seconds):
                return


def failures_of(pass_once: Callable[[], None]) -> list[Exception]:
    try:
        do_each(pass_once)
    except ExceptionGroup as group:
        return list(group.exceptions)
    return []
