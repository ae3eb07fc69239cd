"""Windows of load, and a moment of quiet after each of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

from bench.progress import Progress
from bench.service import ROOT, Service
from soak.arguments import Options
from soak.crowd import Crowd, visitors, wait_seconds
from soak.judging import judge_growth, judge_latency
from soak.ledger import Call, Ledger, Outcome, counted
from soak.leftovers import Leftovers
from soak.samples import Inside, Sample, load, yardstick
from soak.visitor import Mix

RESULTS = ROOT / "var" / "soak"
MAX_CONTAINERS = 8
# What an answer leaves to be done is done by then.
QUIET_SECONDS = 1.0
# Medians of fewer calls say nothing.
LEAST_CALLS = 5
MOST_TOLD = 20
ACTIONS = {
    "begin": 4,
    "go_on": 12,
    "hint": 4,
    "upload": 3,
    "figure": 1,
    "fetch": 4,
    "delete": 2,
}
ENDINGS = {"well": 30, "raise": 2, "exit": 2, "timeout": 1, "flood": 1, "memory": 1}
LANGUAGES = {"py": 6, "heredoc": 4, "bash": 4, "js": 2}


def service_settings(options: Options) -> dict[str, str]:
    """So that much expires, is evicted and recycled in little time."""
    given = {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(("SANDBOX_", "WEB_"))
        and name not in ("SANDBOX_STORE_DIR", "SANDBOX_INSTALLATION")
    }
    return (
        {
            "SANDBOX_MAX_CONTAINERS": str(MAX_CONTAINERS),
            "SANDBOX_IDLE_SECONDS": f"{options.life_seconds / 2:.0f}",
            # Nobody is to be refused, or ended, because others are at work on this machine as well.
            "SANDBOX_RUN_SECONDS": "120",
            "SANDBOX_QUEUE_SECONDS": "120",
        }
        | given
        | {"SANDBOX_SESSION_HOURS": f"{options.life_seconds / 3600:.6f}"}
    )


class Soaking:
    def __init__(self, options: Options, progress: Progress) -> None:
        self._options = options
        self._progress = progress
        self._settings = service_settings(options) if not options.base_url else {}
        self.ledger = Ledger()
        self.samples: list[Sample] = []
        self._inside: Inside | None = None

    def run(self) -> None:
        options = self._options
        mix = Mix(
            actions=ACTIONS,
            endings=ENDINGS,
            languages=LANGUAGES,
            life_seconds=options.life_seconds,
        )
        with self._server() as (base_url, keys):
            clients = visitors(options.clients, mix, self.ledger, base_url, keys)
            began = time.monotonic()
            with Crowd(clients) as crowd:
                for number in range(options.windows):
                    self._window(crowd, began, number)

    @contextmanager
    def _server(self) -> Iterator[tuple[str, Sequence[str]]]:
        options = self._options
        if options.base_url:
            yield options.base_url, [options.api_key]
            return
        self._progress.say("Starting a private service")
        with ExitStack() as stack:
            service = stack.enter_context(
                Service(label="soak", settings=self._settings, results=RESULTS)
            )
            leftovers = stack.enter_context(
                Leftovers(
                    database_url=service.database_url,
                    store=service.store,
                    installation=service.installation,
                    life_seconds=options.life_seconds,
                )
            )
            self._inside = Inside(service, leftovers)
            yield service.base_url, [service.api_key, service.another_key()]
            self._progress.say("Stopping it")

    def _window(self, crowd: Crowd, began: float, number: int) -> None:
        options, since = self._options, time.monotonic()
        yardsticks = []
        crowd.resume()
        while (left := since + options.window_seconds - time.monotonic()) > 0:
            wait_seconds(crowd, min(1.0, left))
            if crowd.failure:
                raise crowd.failure
            if self._inside:
                self._inside.look()
            yardsticks.append(yardstick())
            calls = counted(self.ledger.calls())
            self._progress.update(
                f"window {number + 1} of {options.windows}, "
                + ", ".join(f"{count} {outcome}" for outcome, count in sorted(calls.items()))
            )
        crowd.pause()
        time.sleep(QUIET_SECONDS)
        self.samples.append(
            self._sample(
                time.monotonic() - began, self.ledger.calls(since=since), median(yardsticks)
            )
        )
        self._progress.say(told(number + 1, self.samples[-1]))

    def _sample(self, elapsed: float, calls: list[Call], yardstick_ms: float) -> Sample:
        values: dict[str, Any] = {
            "elapsed": round(elapsed, 1),
            "calls": counted(calls),
            "latency": medians(calls),
            "yardstick_ms": yardstick_ms,
            "load": load(),
        }
        if self._inside:
            values = self._inside.fill(values)
        return Sample(**values)

    def findings(self) -> list[str]:
        """All that is not as it should be."""
        found = shortened(
            [str(call) for call in self.ledger.calls(Outcome.WRONG, Outcome.REFUSED, Outcome.LOST)]
        )
        series: dict[str, list[float]] = {}
        for sample in self.samples:
            for name, value in sample.series().items():
                series.setdefault(name, []).append(value)
            found += shortened(sample.leftovers)
        found += judge_growth(series)
        found += judge_latency(
            [sample.latency for sample in self.samples],
            [sample.yardstick_ms for sample in self.samples],
        )
        most = int(self._settings.get("SANDBOX_MAX_CONTAINERS", "0"))
        seen = max((sample.most_containers for sample in self.samples), default=0)
        if self._inside and seen > most:
            found.append(f"{seen} containers at a time, the setting is {most}")
        if not self.ledger.calls(Outcome.RIGHT):
            found.append("no call was answered")
        return found


def medians(calls: Sequence[Call]) -> dict[str, float]:
    times: dict[str, list[float]] = {}
    for call in calls:
        if call.outcome is Outcome.RIGHT:
            times.setdefault(call.kind, []).append(call.milliseconds)
    return {
        kind: round(median(each), 1)
        for kind, each in sorted(times.items())
        if len(each) >= LEAST_CALLS
    }


def shortened(found: list[str]) -> list[str]:
    more = len(found) - MOST_TOLD
    return found if more <= 0 else [*found[:MOST_TOLD], f"and {more} more of these"]


def told(number: int, sample: Sample) -> str:
    held = "".join(
        f", {name} {held.rss_mb:.0f} MB {held.descriptors} fds {held.threads} threads"
        for name, held in sample.held.items()
    )
    return f"{number}: {sample.calls}{held}, {len(sample.leftovers)} leftovers"
