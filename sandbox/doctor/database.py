"""Postgres: reachable, migrated, with connections enough, and with our time."""

from __future__ import annotations

import os
from collections.abc import Iterator

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from sandbox.findings import Finding, fail, ok, warn

# The keeper's own, what is run by hand, and a look by an operator.
BESIDE = 5


def check() -> Iterator[Finding]:
    try:
        connection.ensure_connection()
        version = connection.cursor().execute("SHOW server_version").fetchone()[0]
    except DatabaseError as error:
        where = ":".join(str(settings.DATABASES["default"][part]) for part in ("HOST", "PORT"))
        reason = " ".join(str(error).split())
        yield fail(
            "database.reachable",
            f"no answer from {where.strip(':') or 'the local socket'}: {reason}",
            "Start Postgres, or correct DATABASE_URL.",
        )
        return
    yield ok("database.reachable", f"Postgres {version}")
    yield _check_migrations()
    yield _check_connections()
    yield _check_threads()


def _check_migrations() -> Finding:
    check = "database.migrations"
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        names = ", ".join(f"{migration.app_label}.{migration.name}" for migration, _ in missing[:5])
        return fail(
            check,
            f"{len(missing)} migrations are not applied: {names}{', …' if missing[5:] else ''}",
            "Back up, then run manage.py migrate; --fix does not, as a server may be running.",
        )
    return ok(check, "all are applied")


def _check_connections() -> Finding:
    check = "database.connections"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('max_connections')::int"
            " - current_setting('superuser_reserved_connections')::int"
        )
        [there] = cursor.fetchone()
    workers, pool = _number("WEB_WORKERS", 2), settings.DATABASES["default"]["OPTIONS"]["pool"]
    wanted = workers * pool["max_size"] + BESIDE
    text = (
        f"{workers} workers with up to {pool['max_size']} each, and {BESIDE} beside them, "
        f"want {wanted} of the {there} that Postgres has"
    )
    if wanted > there:
        advice = "Raise Postgres' max_connections, or lower DATABASE_POOL_SIZE or WEB_WORKERS."
        return fail(check, text, advice)
    return ok(check, text)


def _check_threads() -> Finding:
    check = "database.pool"
    threads = _number("WEB_THREADS", 24)
    pool = settings.DATABASES["default"]["OPTIONS"]["pool"]["max_size"]
    text = f"{threads} threads share {pool} connections of a process"
    if threads > pool:
        return warn(check, text, "Raise DATABASE_POOL_SIZE to WEB_THREADS, or runs wait.")
    return ok(check, text)


def _number(name: str, default: int) -> int:
    """gunicorn reads these itself."""
    return int(os.environ.get(name) or default)
