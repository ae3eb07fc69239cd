"""Whether this process can serve runs, and if not, which part of the service it is that fails.

Each part is asked in a thread of its own and given a moment: one that hangs is one that fails, and
is not asked again before it has answered. Whoever asks gets the last answer if that is a second old
at most, and all who ask meanwhile wait for the same next one: a storm of probes costs no more than
one a second.
"""

from __future__ import annotations

import logging
import resource
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection

from audit.models import Report
from sandbox import store
from sandbox.canary import MAX_SKEW_SECONDS
from sandbox.engines import engine
from sandbox.errors import ImageMissing, SandboxError
from sandbox.parts import FINE, OK, Part, part_of

logger = logging.getLogger(__name__)

FRESH_SECONDS = 1.0
# Less than what asks is usually given: the health check of a container, a load balancer.
PART_SECONDS = 3.0
# A run takes two or three. What is left is for those that are under way.
SPARE_DESCRIPTORS = 64
# More than a block, of which a full disk may still have some.
WRITTEN = bytes(256 * 1024)
# The keeper may be busy with a container that does not start.
KEEPER_SECONDS = 120.0
# What the database knows, for a part each.
BY_DATABASE = (Part.DATABASE, Part.CLOCK, Part.KEEPER, Part.RUN)

NO_ANSWER = "no answer"
Words = dict[Part, str]
# The last error of each part that fails.
_logged: dict[Part, str] = {}


@dataclass(frozen=True, slots=True)
class Readiness:
    """A short word for each part, and how far the database's clock is from ours."""

    parts: Words
    skew_seconds: float = 0.0

    @property
    def is_ready(self) -> bool:
        return all(word in FINE for word in self.parts.values())


@dataclass
class Probe:
    """One that may hang."""

    ask: Callable[[], Words]
    parts: tuple[Part, ...]
    _asked: Future[Words] | None = None

    def begin(self, threads: ThreadPoolExecutor) -> None:
        if self._asked is None or self._asked.done():
            self._asked = threads.submit(self.ask)

    def answer(self, until: float) -> Words:
        assert self._asked  # noqa: S101 - begin() comes first
        try:
            return self._asked.result(max(0.0, until - time.monotonic()))
        except TimeoutError:
            return dict.fromkeys(self.parts, NO_ANSWER)


def ask_engine() -> Words:
    found = {Part.ENGINE: OK, Part.IMAGE: OK}
    try:
        if engine().image(settings.SANDBOX_IMAGE) is None:
            raise ImageMissing
    except SandboxError as error:
        part, word = part_of(error)
        _log(part, error)
        found[part] = word
        if part == Part.ENGINE:
            found[Part.IMAGE] = "unknown"
    return found


def ask_store() -> Words:
    try:
        written = store.IncomingFile()
        try:
            written.write(WRITTEN)
            written.close()
        finally:
            written.discard()
        # Which is elsewhere where files are in a bucket.
        store.check()
    except (SandboxError, OSError) as error:
        _log(Part.STORE, error)
        return {Part.STORE: "failing"}
    return {Part.STORE: OK}


def ask_descriptors() -> Words:
    try:
        used = len(list(Path("/proc/self/fd").iterdir()))
    except OSError as error:
        _log(Part.DESCRIPTORS, error)
        return {Part.DESCRIPTORS: "used up"}
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_enough = most == resource.RLIM_INFINITY or most - used >= SPARE_DESCRIPTORS
    return {Part.DESCRIPTORS: OK if is_enough else "used up"}


@dataclass
class Database:
    skew_seconds: float = 0.0

    def ask(self) -> Words:
        try:
            return self._ask()
        except DatabaseError as error:
            _log(Part.DATABASE, error)
            return {Part.DATABASE: "failing"} | dict.fromkeys(BY_DATABASE[1:], "unknown")
        finally:
            connection.close()

    def _ask(self) -> Words:
        before = time.time()
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            now: datetime = cursor.fetchone()[0]
        there, after = now.timestamp(), time.time()
        self.skew_seconds = there - min(max(there, before), after)
        is_right = abs(self.skew_seconds) <= MAX_SKEW_SECONDS
        found = {Part.DATABASE: OK, Part.CLOCK: OK if is_right else "wrong"}
        # By the database's clock, as far as that is ours.
        return found | judge_reports(now) if settings.HEALTH_RUN_SECONDS else found


def judge_reports(now: datetime) -> Words:
    """What the keeper has said of itself and of its own runs. A part of another name that it has
    seen fail is added, also where this process finds nothing wrong with it."""
    reports = {report.name: report for report in Report.objects.all()}
    pulse, run = reports.get(Report.Name.KEEPER), reports.get(Report.Name.CANARY)
    found: Words = {Part.KEEPER: OK, Part.RUN: OK}
    if pulse is None or now - pulse.at > timedelta(seconds=KEEPER_SECONDS):
        found[Part.KEEPER] = "away"
    else:
        found |= {Part(pulse.content["part"]): pulse.content["word"]}
    if run is None:
        return add(found, {Part.RUN: "none yet"})
    if now - run.at > timedelta(seconds=settings.HEALTH_RUN_SECONDS):
        return add(found, {Part.RUN: "too old"})
    return add(found, {Part(run.content["part"]): run.content["word"]})


def add(found: Words, more: Words) -> Words:
    """Whoever says that a part fails is believed, whoever else says that it does not."""
    return found | {part: word for part, word in more.items() if found.get(part, OK) == OK}


@dataclass
class Readying:
    """The answer of this process, and its being asked for."""

    database: Database = field(default_factory=Database)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _last: Readiness | None = None
    _last_at: float = float("-inf")

    def __post_init__(self) -> None:
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="readiness")
        self._probes = (
            Probe(self.database.ask, BY_DATABASE),
            Probe(ask_engine, (Part.ENGINE, Part.IMAGE)),
            Probe(ask_store, (Part.STORE,)),
            Probe(ask_descriptors, (Part.DESCRIPTORS,)),
        )

    def check(self) -> Readiness:
        with self._lock:
            if self._last is None or time.monotonic() - self._last_at > FRESH_SECONDS:
                found = self._ask()
                _log_change(self._last, found)
                self._last, self._last_at = found, time.monotonic()
            return self._last

    def _ask(self) -> Readiness:
        until = time.monotonic() + PART_SECONDS
        for probe in self._probes:
            probe.begin(self._threads)
        words = dict.fromkeys(Part, OK)
        for probe in self._probes:
            words = add(words, probe.answer(until))
        if not settings.HEALTH_RUN_SECONDS:
            for part in (Part.KEEPER, Part.RUN):
                del words[part]
        return Readiness(words, self.database.skew_seconds)


def _log(part: Part, error: BaseException) -> None:
    """What callers are not told; once, not with each probe."""
    text = f"{type(error).__name__}: {error}"
    if _logged.get(part) != text:
        logger.warning("%s: %s", part, text)
    _logged[part] = text


def _log_change(before: Readiness | None, now: Readiness) -> None:
    failing = {part: word for part, word in now.parts.items() if word not in FINE}
    for part in set(_logged) - set(failing):
        _logged.pop(part, None)
    if before is not None and before.parts == now.parts:
        return
    if failing:
        logger.warning("not ready: %s", ", ".join(f"{p} {w}" for p, w in failing.items()))
    elif before is not None and not before.is_ready:
        logger.info("ready again")


_readying = Readying()
check = _readying.check
