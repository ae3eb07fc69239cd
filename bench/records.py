"""What the private service has written down about its own work."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg.conninfo import make_conninfo

from audit.steps import STEPS as STEPS_OF_REQUEST
from bench.summary import percentile

POLL_SECONDS = 0.05
# "program" is the program's own time, a part of "run".
_BEFORE = STEPS_OF_REQUEST.index("run") + 1
STEPS = (*STEPS_OF_REQUEST[:_BEFORE], "program", *STEPS_OF_REQUEST[_BEFORE:], "total")


class NotReady(Exception):
    """The pool did not fill up."""


@dataclass(frozen=True, slots=True)
class Inside:
    """Of a case's runs: the median of each step in milliseconds, and where containers came from."""

    steps: dict[str, float]
    sources: dict[str, int]


class Records:
    def __init__(self, database_url: str, pool_size: int) -> None:
        self._connection = psycopg.connect(conninfo(database_url), autocommit=True)
        self._pool_size = pool_size

    def close(self) -> None:
        self._connection.close()

    def now(self) -> datetime:
        ((moment,),) = self._connection.execute("SELECT clock_timestamp()").fetchall()
        found: datetime = moment
        return found

    def inside(self, since: datetime) -> Inside:
        rows = self._connection.execute(
            "SELECT step_ms, container_source, wall_ms FROM audit_execution"
            " WHERE created_at >= %s AND ended_at IS NOT NULL",
            [since],
        ).fetchall()
        return Inside(
            median_steps([steps | {"program": wall} for steps, _, wall in rows if steps]),
            dict(Counter(source or "none" for _, source, _ in rows)),
        )

    def wait_for_pool(
        self, *, seconds: float = 60, look: Callable[[], None] = lambda: None
    ) -> None:
        """Until all containers of the pool are hot and none is being made."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            look()
            ((warm, starting),) = self._connection.execute(
                "SELECT count(*) FILTER (WHERE state = 'warm'),"
                " count(*) FILTER (WHERE state = 'starting') FROM audit_sandboxcontainer"
            ).fetchall()
            if warm >= self._pool_size and not starting:
                return
            time.sleep(POLL_SECONDS)
        raise NotReady(f"the pool was not full after {seconds:.0f} s")

    def start_seconds(self, since: datetime) -> list[float]:
        """From the decision to start a container until it can take a run, of each one."""
        rows = self._connection.execute(
            "SELECT extract(epoch FROM ready_at - created_at)::float FROM audit_sandboxcontainer"
            " WHERE created_at >= %s AND ready_at IS NOT NULL",
            [since],
        ).fetchall()
        return [seconds for (seconds,) in rows]

    def warm_containers(self) -> list[str]:
        rows = self._connection.execute(
            "SELECT id FROM audit_sandboxcontainer WHERE state = 'warm' ORDER BY ready_at"
        ).fetchall()
        return [pk for (pk,) in rows]


def median_steps(rows: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """In the order in which a request goes through them, which the database does not keep."""
    steps: dict[str, list[float]] = {}
    for row in rows:
        for step, milliseconds in row.items():
            if milliseconds is not None:
                steps.setdefault(step, []).append(milliseconds)
    known = [step for step in STEPS if step in steps]
    names = known + sorted(steps.keys() - set(known))
    return {step: round(percentile(steps[step], 50), 2) for step in names}


def conninfo(database_url: str) -> str:
    """The URL has a socket's directory where psycopg looks for a database."""
    url = urlsplit(database_url)
    directory, _, name = unquote(url.path).rpartition("/")
    return make_conninfo(host=f"/{directory.lstrip('/')}", dbname=name, user=url.username)
