"""Many executions at once, and what a plain reading of them says."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from audit.models import Execution, SandboxSession
from keys.models import APIKey

Status = Execution.Status
STATUSES = [*[Status.SUCCEEDED] * 6, *Status]
MESSAGES = {
    Status.FAILED: ["", "/mnt/data is full", "<b>Too many files</b> in /tmp"],
    Status.TIMED_OUT: ["Time limit exceeded"],
    Status.OUT_OF_MEMORY: ["Out of memory"],
    Status.ABORTED: ["The server stopped during the run"],
}
LIMITS: list[list[str]] = [[], [], [], ["memory"], ["wall_time"], ["output", "tmp_bytes"]]


def random_runs(count: int, now: datetime, *, days: float, seed: int) -> list[Execution]:
    """Those that still run are of the last minutes, as in life."""
    chance = random.Random(seed)  # noqa: S311 - no secrets
    keys = [APIKey.issue(name=f"Key {number}")[0] for number in range(4)]
    sessions = [
        SandboxSession.objects.create(
            key=chance.choice(keys), origin="run", expires_at=now + timedelta(days=1)
        )
        for _ in range(8)
    ]
    made = []
    for _ in range(count):
        session = chance.choice(sessions)
        status = chance.choice(STATUSES)
        age = chance.random() ** 3 * days * 86400
        if status == Status.RUNNING:
            age = chance.random() * 1800
        ended = status not in (Status.RUNNING, Status.ABORTED)
        made.append(
            Execution(
                key=session.key,
                session=session,
                status=status,
                language=chance.choice(["py", "py", "bash", "js"]),
                user_id=chance.choice(["", "ann", "bob", "<i>eve</i> & co"]),
                container_source=chance.choice(["", *Execution.Source.values]),
                message=chance.choice(MESSAGES.get(status, [""])),
                limits_hit=chance.choice(LIMITS),
                wall_ms=int(10 ** (chance.random() * 4.5)) - 1 if ended else None,
                created_at=now - timedelta(seconds=age),
            )
        )
    return Execution.objects.bulk_create(made)


def between(runs: Iterable[Execution], begin: datetime, end: datetime) -> list[Execution]:
    return [run for run in runs if begin <= run.created_at < end]


def count(runs: Iterable[Execution], what: Callable[[Execution], str]) -> Counter[str]:
    found = Counter(map(what, runs))
    del found[""]
    return found


def nearest_rank(values: list[int], percent: float) -> int:
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]
