"""Every call and how it went, written down by all clients."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from bench.client import CallFailed

# What a client may be told when it is the service that fails: it can be shown, and tried again.
TOO_MANY = 429


class Outcome(StrEnum):
    RIGHT = "right"
    # The service says that it could not: 429 or 5xx, in JSON.
    REFUSED = "refused"
    # The connection ended without an answer.
    LOST = "lost"
    # Anything else: an answer that is not the one to the question, or a lost file.
    WRONG = "wrong"


class Wrong(Exception):
    """An answer that cannot be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    kind: str
    client: str
    # In `time.monotonic()` seconds.
    began: float
    ended: float
    outcome: Outcome
    detail: str = ""

    @property
    def milliseconds(self) -> float:
        return (self.ended - self.began) * 1000

    def overlaps(self, began: float, ended: float) -> bool:
        return self.began < ended and began < self.ended

    def __str__(self) -> str:
        return f"{self.client}, {self.kind}: {self.outcome}: {self.detail}"


@dataclass(slots=True)
class Ledger:
    _calls: list[Call] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(
        self, kind: str, client: str, began: float, outcome: Outcome, detail: object = ""
    ) -> None:
        call = Call(
            kind=kind,
            client=client,
            began=began,
            ended=time.monotonic(),
            outcome=outcome,
            detail=str(detail),
        )
        with self._lock:
            self._calls.append(call)

    def calls(self, *outcomes: Outcome, since: float = 0) -> list[Call]:
        """Those that ended since then, of these outcomes or of all."""
        with self._lock:
            calls = list(self._calls)
        return [
            call
            for call in calls
            if call.ended >= since and (not outcomes or call.outcome in outcomes)
        ]


def judge_failure(error: CallFailed) -> tuple[Outcome, str]:
    """Whether a client can live with it."""
    if not error.status:
        return Outcome.LOST, str(error)
    try:
        body = json.loads(error.body)
    except ValueError:
        return Outcome.WRONG, f"not JSON: {error}"
    if not isinstance(body, dict) or not isinstance(body.get("error"), str):
        return Outcome.WRONG, f"no error for LibreChat to show: {error}"
    if error.status == TOO_MANY or error.status >= 500:
        return Outcome.REFUSED, str(error)
    return Outcome.WRONG, str(error)


def counted(calls: Iterable[Call]) -> dict[str, int]:
    return dict(Counter(call.outcome.value for call in calls))
