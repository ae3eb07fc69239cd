from django.db import connection


def give_back_connection() -> None:
    """To the pool, while this thread has no use for it: a long run must not hold one, and when
    it has ended the thread gets one that works, also if the database was restarted meanwhile."""
    if not connection.in_atomic_block:
        connection.close()
