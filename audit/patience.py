"""Questions to the database that somebody waits for, and not for ever."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

if TYPE_CHECKING:
    from collections.abc import Iterator


class TookTooLong(Exception):
    """A statement was given up, and with it all that was done beside it."""


@contextmanager
def at_most(milliseconds: int) -> Iterator[None]:
    """For each statement. Not to be nested: what comes after has the database's own limit again."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = %s", [milliseconds])
            yield
            cursor.execute("SET LOCAL statement_timeout TO DEFAULT")
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise TookTooLong from error
        raise
