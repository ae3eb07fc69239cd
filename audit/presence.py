"""Which processes that run programs are alive, so that a dead one holds nothing for long.

Each has a connection with an advisory lock of its own, which Postgres lets go when the process
dies, however it does; and its leases bear its number. So whoever looks can end a dead worker's
leases within seconds, where they would otherwise last for half a minute: its runs in the line for a
container keep everybody behind them waiting, and its containers are of no use to anybody.
"""

from __future__ import annotations

import logging
import os
import secrets
import select
import threading
import time
from typing import Any

import psycopg
from django.db import connection

from audit.ids import LENGTH, new_id

logger = logging.getLogger(__name__)

# The first half of the locks' numbers, the same in every process of an installation.
LOCKS = 7_245_003
# Not in the alphabet of ids: no token without a worker looks as if it had one.
MARK = "."
RETRY_SECONDS = 0.5
# A host that has vanished says no goodbye.
KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}


class Presence(threading.Thread):
    """Says for as long as this process lives that it does."""

    def __init__(self) -> None:
        super().__init__(name="presence", daemon=True)
        self.number = secrets.randbits(31)
        self.pid = os.getpid()
        self.is_known = threading.Event()

    def run(self) -> None:
        while True:
            try:
                with self._connect() as held:
                    held.execute("SELECT pg_advisory_lock(%s, %s)", [LOCKS, self.number])
                    self.is_known.set()
                    # The server says nothing more but goodbye.
                    goodbye = select.poll()
                    goodbye.register(held.fileno(), select.POLLIN)
                    goodbye.poll()
            except (psycopg.Error, OSError) as error:
                logger.debug("no connection to be known by: %s", error)
            finally:
                self.is_known.clear()
            time.sleep(RETRY_SECONDS)

    def _connect(self) -> psycopg.Connection[Any]:
        """Beside the pool: what is in it may be given to others."""
        parameters: dict[str, Any] = connection.get_connection_params()
        return psycopg.connect(**KEEPALIVES | parameters, autocommit=True)


_presence: Presence | None = None


def announce() -> Presence:
    """From now on, this process's leases end with it."""
    global _presence
    if _presence is None or _presence.pid != os.getpid():
        _presence = Presence()
        _presence.start()
    return _presence


def new_token() -> str:
    """For a lease: unlike any other, and with the number of this worker where it has one that
    others can see."""
    presence = _presence
    if presence is None or presence.pid != os.getpid() or not presence.is_known.is_set():
        return new_id()
    return f"{presence.number:08x}{MARK}{new_id()}"[:LENGTH]
