"""Django's Postgres backend, whose pool gives out no connection that has broken, and with cursors
for what each request asks."""

from __future__ import annotations

from typing import Any

from django.db.backends.postgresql import base, operations
from django.db.backends.utils import CursorWrapper

from sandbox.database import has_gone


class DatabaseOperations(operations.DatabaseOperations):
    def last_executed_query(self, cursor: Any, sql: str, params: Any) -> str:
        """For who debugs. Of a prepared statement psycopg does not keep what it has sent."""
        return super().last_executed_query(cursor, sql, params) or sql


class DatabaseWrapper(base.DatabaseWrapper):
    ops_class = DatabaseOperations

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """The pool's own check asks the server, and for each request takes as long as a query."""
        while has_gone(held := super().get_new_connection(conn_params)):
            held.close()
            # In place of a closed one it makes another, and when it cannot, it says so.
            self.pool.putconn(held)
        return held

    def prepared_cursor(self) -> CursorWrapper:
        """Like `cursor()`, but each connection has its statements parsed and planned once, where
        `prepare_threshold` says so. Values travel beside the statement: one that the server cannot
        tell the type of needs a cast in it."""
        self.ensure_connection()
        with self.wrap_database_errors:
            # The types of Django's backend know nothing of how its cursors are made.
            cursor: Any = base.ServerBindingCursor(self.connection)  # type: ignore[call-arg]
        wrapped: CursorWrapper = self._prepare_cursor(cursor)  # type: ignore[attr-defined]
        return wrapped
