"""What is counted where it happens, for Prometheus. What can be asked of the database instead is in
`sandbox.gauges`.

An observation costs some microseconds and no round trip: each worker of gunicorn counts in a file
of its own that is mapped into memory (PROMETHEUS_MULTIPROC_DIR, see gunicorn.conf.py), and who asks
one of them gets the sum. Labels have few values, and none that a caller could choose.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from django.utils import timezone
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

from audit.models import Execution, LimitHit

# Prometheus tells a restart by the counter itself.
disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()

REQUESTS = Counter(
    "interpreter_requests", "Answered requests.", ["route", "status"], registry=REGISTRY
)
# The last is LibreChat's patience.
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
REQUEST_SECONDS = Histogram(
    "interpreter_request_seconds",
    "From a request's head to the head of its answer.",
    ["route"],
    buckets=REQUEST_BUCKETS,
    registry=REGISTRY,
)
RUNS = Counter(
    "interpreter_runs",
    "Runs that have ended; aborted ones by our fault, or because the client left.",
    ["language", "outcome"],
    registry=REGISTRY,
)
LIMITS_HIT = Counter(
    "interpreter_run_limits_hit",
    "Limits that runs came up against.",
    ["limit"],
    registry=REGISTRY,
)
CONTAINERS_TAKEN = Counter(
    "interpreter_run_containers",
    "Where runs had their containers from: pool is a hit, created a miss.",
    ["source"],
    registry=REGISTRY,
)
STEP_SECONDS = Histogram(
    "interpreter_run_step_seconds",
    "Each step of a run, and their total.",
    ["step"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30, 300),
    registry=REGISTRY,
)
QUEUE_SECONDS = Histogram(
    "interpreter_run_queue_seconds",
    "How long a run waited for its session's turn and for a container, if it had to.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120),
    registry=REGISTRY,
)
EVICTIONS = Counter(
    "interpreter_evictions",
    "Idle containers that were removed, and for what.",
    ["reason"],
    registry=REGISTRY,
)
STARTS = Counter(
    "interpreter_container_starts", "Containers that were started.", ["result"], registry=REGISTRY
)
START_SECONDS = Histogram(
    "interpreter_container_start_seconds",
    "Until a new container was ready.",
    buckets=(0.25, 0.5, 1, 2, 4, 8, 15, 30, 60),
    registry=REGISTRY,
)
ENGINE_ERRORS = Counter(
    "interpreter_engine_errors",
    "Calls of the container engine that failed, and how.",
    ["error"],
    registry=REGISTRY,
)
KEEPER_PASSES = Counter(
    "interpreter_keeper_passes", "The keeper's passes.", ["result"], registry=REGISTRY
)
KEEPER_PASS_SECONDS = Histogram(
    "interpreter_keeper_pass_seconds",
    "A pass of the keeper's, without its waiting.",
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=REGISTRY,
)
KEEPER_WORK = Counter(
    "interpreter_keeper_work",
    "What the keeper has ended or removed.",
    ["kind"],
    registry=REGISTRY,
)
CANARY_RUNS = Counter(
    "interpreter_canary_runs", "The keeper's own runs.", ["result"], registry=REGISTRY
)
CANARY_SECONDS = Histogram(
    "interpreter_canary_seconds",
    "The keeper's own runs, from the pool to the kept file.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)

WAITS = ("turn", "queue")
# A rate can be told of the first event only where there was a 0 before.
KNOWN: tuple[tuple[Counter, tuple[str, ...]], ...] = (
    (LIMITS_HIT, tuple(LimitHit.values)),
    (CONTAINERS_TAKEN, tuple(Execution.Source.values)),
    (EVICTIONS, ("idle", "evicted for another session", "evicted for the pool")),
    (STARTS, ("started", "failed")),
    (ENGINE_ERRORS, ("unavailable", "image_missing", "container_missing")),
    (KEEPER_PASSES, ("ok", "failed")),
    (KEEPER_WORK, ("leftover", "session", "version", "execution", "stray", "dead", "swept")),
    (CANARY_RUNS, ("ok", "busy", "failed")),
)
for counter, values in KNOWN:
    for value in values:
        counter.labels(value)


def count_work(kind: str, number: int) -> None:
    KEEPER_WORK.labels(kind).inc(number)


def note_request(route: str, status: int, seconds: float) -> None:
    REQUESTS.labels(route, str(status)).inc()
    REQUEST_SECONDS.labels(route).observe(seconds)


def outcome(execution: Execution) -> str:
    """Of a run that is over. Only the row of an aborted one says so."""
    is_over = execution.status != Execution.Status.RUNNING
    return str(execution.status if is_over else Execution.Status.ABORTED)


def note_run(execution: Execution) -> None:
    RUNS.labels(execution.language, outcome(execution)).inc()
    if execution.container_source:
        CONTAINERS_TAKEN.labels(str(execution.container_source)).inc()
    for limit in execution.limits_hit:
        LIMITS_HIT.labels(limit).inc()
    note_steps(execution.step_ms)
    if not execution.container_source:
        QUEUE_SECONDS.observe((timezone.now() - execution.created_at).total_seconds())


def note_steps(step_ms: Mapping[str, float]) -> None:
    for step, milliseconds in step_ms.items():
        STEP_SECONDS.labels(step).observe(milliseconds / 1000)
    waited = [step_ms[step] for step in WAITS if step in step_ms]
    if waited:
        QUEUE_SECONDS.observe(sum(waited) / 1000)


@contextmanager
def starting() -> Iterator[None]:
    """Around the start of a container."""
    began = time.perf_counter()
    try:
        yield
    except BaseException:
        STARTS.labels("failed").inc()
        raise
    STARTS.labels("started").inc()
    START_SECONDS.observe(time.perf_counter() - began)
