"""For the few statements that each request asks: to parse and plan them takes the database longer
than to carry them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection
from psycopg.types.numeric import Int8

Values = Mapping[str, Any] | Sequence[Any]


def ask(statement: str, values: Values) -> tuple[Any, ...] | None:
    """The first row of what a statement answers that each connection prepares once."""
    return next(iter(ask_for_all(statement, values)), None)


def ask_for_all(statement: str, values: Values) -> list[tuple[Any, ...]]:
    """All of its rows."""
    with connection.prepared_cursor() as cursor:  # type: ignore[attr-defined]  # Of our backend.
        cursor.execute(statement, _of_few_types(values))
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def _of_few_types(values: Values) -> Values:
    """A number's type would be the smallest that it fits, and each combination of types is another
    statement to the server."""
    if isinstance(values, Mapping):
        return {name: _of_one_type(value) for name, value in values.items()}
    return [_of_one_type(value) for value in values]


def _of_one_type(value: Any) -> Any:
    return Int8(value) if type(value) is int else value
