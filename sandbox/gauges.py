"""What all processes share, asked of the database when somebody wants to know."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from audit.models import Report, SandboxContainer
from sandbox import readiness
from sandbox.parts import FINE

# What takes longer than this is not worth it.
STATEMENT_SECONDS = 5
ASK = """
    SELECT
        (SELECT jsonb_object_agg(state, number) FROM (
            SELECT state, count(*) AS number FROM audit_sandboxcontainer
            WHERE removed_at IS NULL GROUP BY state
        ) AS states),
        (SELECT count(*) FROM audit_execution
            WHERE status = 'running' AND container_id IS NOT NULL),
        (SELECT count(*) FROM audit_execution WHERE status = 'running' AND container_id IS NULL),
        (SELECT count(*) FROM audit_sandboxsession
            WHERE ended_at IS NULL AND expires_at > now()),
        (SELECT jsonb_object_agg(name, extract(epoch FROM at)) FROM audit_report)
"""
# Reads the rows of all files that are kept; so not with each question.
ASK_STORED = """
    SELECT count(*), COALESCE(sum(size), 0) FROM audit_sandboxfile WHERE deleted_at IS NULL
"""
STORED_SECONDS = 60.0


class Shared(Collector):
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stored: tuple[int, int] | None = None
        self._stored_at = float("-inf")

    def describe(self) -> list[Metric]:
        """Nothing is to be asked when this is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield from of_settings()
        yield from of_parts(readiness.check())
        yield from of_disk()
        try:
            yield from self._of_database()
        except DatabaseError:
            # That it is away is among the parts.
            return
        finally:
            connection.close()

    def _of_database(self) -> Iterator[Metric]:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'")
            cursor.execute(ASK)
            states, running, waiting, sessions, reports = cursor.fetchone()
            stored = self._ask_stored(cursor)
        # As text: Django keeps psycopg from reading JSON, which is its fields' to do.
        known: dict[str, int] = json.loads(states or "{}")
        said: dict[str, float] = json.loads(reports or "{}")
        yield family(
            "containers",
            "Containers that take up room, by what they do; gone ones are yet to be removed.",
            {(state,): known.get(state, 0) for state in SandboxContainer.State.values},
            "state",
        )
        yield family("runs_running", "Runs in a container.", running)
        yield family("runs_waiting", "Runs that wait for a container or for their turn.", waiting)
        yield family("sessions_live", "Sessions that have neither ended nor expired.", sessions)
        if stored is not None:
            files, size = stored
            yield family("stored_files", "Files that are kept.", files)
            yield family("stored_bytes", "Bytes of all files that are kept.", size)
        for name in Report.Name:
            if name.value in said:
                yield family(
                    f"{name.value}_last_timestamp_seconds",
                    f"The time of {name.label}.",
                    said[name.value],
                )

    def _ask_stored(self, cursor: Any) -> tuple[int, int] | None:
        with self._lock:
            if time.monotonic() - self._stored_at > STORED_SECONDS:
                # Before it is tried: one that takes too long must not be tried by each scrape.
                self._stored_at, self._stored = time.monotonic(), None
                cursor.execute(ASK_STORED)
                files, size = cursor.fetchone()
                self._stored = (files, int(size))
            return self._stored


def of_settings() -> Iterator[Metric]:
    yield family("containers_max", "SANDBOX_MAX_CONTAINERS.", settings.SANDBOX_MAX_CONTAINERS)
    yield family("pool_size", "SANDBOX_POOL_SIZE.", settings.SANDBOX_POOL_SIZE)


def of_parts(found: readiness.Readiness) -> Iterator[Metric]:
    yield family("ready", "Whether /health/ready says so.", float(found.is_ready))
    yield family(
        "part_ok",
        "Whether a part of the service works, as /health/ready tells it.",
        {(part,): float(word in FINE) for part, word in found.parts.items()},
        "part",
    )
    yield family(
        "database_clock_skew_seconds",
        "How far the database's clock is ahead of this process'.",
        found.skew_seconds,
    )


def of_disk() -> Iterator[Metric]:
    try:
        usage = shutil.disk_usage(settings.SANDBOX_STORE_DIR)
    except OSError:
        return
    yield family("store_disk_free_bytes", "Room on the file store's disk.", usage.free)
    yield family("store_disk_bytes", "Size of the file store's disk.", usage.total)


def family(
    name: str, text: str, value: float | Mapping[tuple[str, ...], float], *labels: str
) -> GaugeMetricFamily:
    made = GaugeMetricFamily(f"interpreter_{name}", text, labels=labels)
    values = value if isinstance(value, Mapping) else {(): value}
    for labelled, number in values.items():
        made.add_metric(labelled, number)
    return made
