"""Django's Postgres backend, whose pool gives out no connection that has broken."""

from __future__ import annotations

from typing import Any

from django.db.backends.postgresql import base

from sandbox.database import has_gone


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """The pool's own check asks the server, and for each request takes as long as a query."""
        while has_gone(held := super().get_new_connection(conn_params)):
            held.close()
            # In place of a closed one it makes another, and when it cannot, it says so.
            self.pool.putconn(held)
        return held
