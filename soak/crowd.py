"""Several clients at once, who can be asked to hold still for a moment."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType

from bench.client import Interpreter
from soak.ledger import Ledger
from soak.visitor import Mix, Visitor


def visitors(
    number: int, mix: Mix, ledger: Ledger, base_url: str, api_keys: Sequence[str]
) -> list[Visitor]:
    """Each a user of its own. Two users have each key, and so the same hints are another's."""
    made = []
    for index in range(number):
        name = f"user-{index}"
        key = api_keys[index % len(api_keys)]
        made.append(
            Visitor(
                name=name,
                interpreter=Interpreter(base_url, key, user=name),
                ledger=ledger,
                mix=mix,
                rng=random.Random(index),  # noqa: S311 - what they do is no secret
            )
        )
    return made


class Crowd(AbstractContextManager["Crowd"]):
    """Acts in __enter__ at once, and until __exit__ or `pause`."""

    def __init__(self, visitors: Sequence[Visitor]) -> None:
        self.visitors = visitors
        self._go = threading.Event()
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._busy = 0
        self._failure: BaseException | None = None
        self._threads = [threading.Thread(target=self._visit, args=[each]) for each in visitors]

    def __enter__(self) -> Crowd:
        self._go.set()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._go.set()
        for thread in self._threads:
            thread.join()
        if self._failure and error is None:
            raise self._failure

    def pause(self) -> None:
        """When it returns, all calls have been answered."""
        self._go.clear()
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)

    def resume(self) -> None:
        self._go.set()

    @property
    def failure(self) -> BaseException | None:
        """A mistake of ours."""
        return self._failure

    def _visit(self, visitor: Visitor) -> None:
        while not self._stop.is_set():
            self._go.wait()
            with self._changed:
                # Asked to hold still after all.
                if not self._go.is_set():
                    continue
                self._busy += 1
            try:
                if not self._stop.is_set():
                    visitor.act()
            except BaseException as error:  # noqa: BLE001 - told by whoever waits for us
                self._failure = error
                self._stop.set()
            finally:
                with self._changed:
                    self._busy -= 1
                    self._changed.notify_all()


def wait_seconds(crowd: Crowd, seconds: float, step: float = 0.5) -> None:
    """Unless one of them fails."""
    deadline = time.monotonic() + seconds
    while crowd.failure is None and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(step, left))
