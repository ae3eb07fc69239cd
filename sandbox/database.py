"""How a run uses the database: few round trips, and no connection while it has no use for one."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection

WRITES = ("INSERT", "UPDATE", "WITH")
# A column of the answer of a statement that is `unacknowledged` by itself, as a prepared one has to
# be: what it answers nothing to waits for the disk.
UNACKNOWLEDGED = "set_config('synchronous_commit', 'off', true)"


def give_back_connection() -> None:
    """To the pool, while this thread has no use for it: a long run must not hold one, and when
    it has ended the thread gets one that works, also if the database was restarted meanwhile."""
    if not connection.in_atomic_block:
        connection.close()


def replace_broken_connection() -> None:
    """After a silence that was too short to give the connection back."""
    held = connection.connection
    if held is not None and not connection.in_atomic_block and has_gone(held):
        connection.close()


def has_gone(held: psycopg.Connection[Any]) -> bool:
    """Whether the server has ended it, without asking: a server that goes away says goodbye, and
    anything that it says by itself makes the socket readable."""
    poll = select.poll()
    poll.register(held.fileno(), select.POLLIN)
    return bool(poll.poll(0))


@contextmanager
def unacknowledged() -> Iterator[None]:
    """For what no client has been told yet: these commits do not wait for the disk.

    A crash of Postgres may lose the newest of them, never one without those after it: its log is
    one sequence. So the commit that a client is told of, which does wait, makes all before it
    durable as well. Where that one finds its run lost, the run counts as failed.
    """
    with connection.execute_wrapper(_without_waiting):
        yield


def _without_waiting(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    if not sql.lstrip().startswith(WRITES) or UNACKNOWLEDGED in sql:
        return execute(sql, params, many, context)
    # Together they are one transaction and one round trip.
    answer = execute("SET LOCAL synchronous_commit = off;" + sql, params, many, context)
    context["cursor"].nextset()
    return answer
