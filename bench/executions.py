"""Executions as a busy month leaves them, made by Postgres itself: some 30 days of office hours,
keys of very different use, users that come back, and programs that mostly succeed."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg.sql import SQL, Identifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    executions: int = 1_000_000
    days: float = 30
    keys: int = 20
    users: int = 500

    @property
    def sessions(self) -> int:
        return max(1, self.executions // 5)

    @property
    def files(self) -> int:
        return self.executions // 4


# Each key has a share of its own in the runs.
KEYS = """
    INSERT INTO keys_apikey (
        name, prefix, digest, former_digest, tenant_id, owner, note, scopes, networks, created_at,
        last_used_at
    )
    SELECT
        (ARRAY['LibreChat', 'Research', 'Staging', 'Support', 'Data team', 'Finance', 'Lectures',
            'Demo'])[1 + (n - 1) %% 8] || CASE WHEN n > 8 THEN ' ' || n / 8 + 1 ELSE '' END,
        'bench' || lpad(n::text, 7, '0'), 'bench', '', '', 'Platform team', '',
        '{exec,files}', '{}', now() - %(span)s::interval - interval '1 day', now()
    FROM generate_series(1, %(keys)s) AS n RETURNING id
"""
SESSIONS = """
    INSERT INTO audit_sandboxsession (
        id, key_id, origin, user_id, entity_id, kind, resource_id, hint, created_at, last_used_at,
        expires_at, has_files, lease_token
    )
    SELECT
        'bench-s-' || lpad(n::text, 13, '0'),
        (%(key_ids)s::bigint[])[1 + floor(%(keys)s * power(random(), 2.5))::int],
        'run', 'user-' || lpad(floor(%(users)s * power(random(), 1.6))::text, 4, '0'),
        '', '', '', '', now() - %(span)s::interval, now(), now() + interval '1 day', n %% 2 = 0, ''
    FROM generate_series(1, %(sessions)s) AS n
"""
CONTAINERS = """
    INSERT INTO audit_sandboxcontainer (
        id, state, image, limits, manifest, created_at, hot, last_used_at, last_use, end_reason,
        ready_at
    )
    SELECT
        'bench-c-' || lpad(n::text, 13, '0'),
        (ARRAY['leased', 'warm', 'leased', 'idle', 'warm', 'idle', 'leased'])[n],
        'custom-rce-kernel:latest', '', '{}', now(), true, now(), '', '', now()
    FROM generate_series(1, 7) AS n
"""
# The moment: a day, then an hour of it, in which the afternoon is busy. What falls on a weekend is
# mostly put off, and what would be in the future was yesterday.
EXECUTIONS = """
    WITH drawn AS (
        SELECT
            n, random() AS luck, random() AS why, random() AS source, random() AS which,
            date_trunc('day', now()) - floor(random() * %(days)s) * interval '1 day' AS day,
            12.5 + 5.8 * (random() + random() + random() + random() - 2) AS hour,
            random() AS turn, 1 + floor(random() * %(sessions)s)::int AS session
        FROM generate_series(1, %(executions)s) AS n
    ), moved AS (
        SELECT *, hour * interval '1 hour' + CASE
            WHEN extract(isodow FROM day) > 5 AND turn > 0.25 THEN day - interval '3 days' ELSE day
        END AS moment
        FROM drawn
    ), placed AS (
        SELECT
            *,
            CASE WHEN moment < now() THEN moment ELSE moment - interval '1 day' END AS created_at,
            CASE
                WHEN luck < 0.885 THEN 'succeeded' WHEN luck < 0.965 THEN 'failed'
                WHEN luck < 0.972 THEN 'timed_out' WHEN luck < 0.994 THEN 'out_of_memory'
                ELSE 'aborted'
            END AS status,
            CASE WHEN which < 0.55 THEN 'py' WHEN which < 0.92 THEN 'bash' ELSE 'js' END AS language
        FROM moved
    )
    INSERT INTO audit_execution (
        id, key_id, session_id, container_source, user_id, entity_id, language, code, args, status,
        message, exit_code, signal, limits_hit, stdout, stderr, stdout_bytes, stderr_bytes,
        created_at, lease_token, ended_at, wall_ms, cpu_ms, memory_bytes, step_ms
    )
    SELECT
        'bench-e-' || lpad(n::text, 13, '0'), s.key_id, s.id,
        CASE
            WHEN source < 0.62 THEN 'session' WHEN source < 0.93 THEN 'pool'
            WHEN source < 0.97 THEN 'recycled' ELSE 'created'
        END,
        s.user_id, '', p.language,
        'import pandas as pd' || chr(10)
            || 'frame = pd.read_csv("/mnt/data/sales-' || n %% 977 || '.csv")' || chr(10)
            || 'print(frame.groupby("region").sum().to_string())  # ' || md5(n::text) || chr(10)
            || repeat('total = total + frame.iloc[0].sum()' || chr(10), n %% 12),
        '[]', p.status,
        CASE
            WHEN p.status = 'timed_out' THEN 'Time limit exceeded'
            WHEN p.status = 'out_of_memory' THEN 'Out of memory'
            WHEN p.status = 'aborted' AND why < 0.6 THEN 'The server stopped during the run'
            WHEN p.status = 'aborted' THEN 'The sandbox was lost during the run'
            WHEN p.status = 'failed' AND why < 0.05 THEN '/mnt/data is full'
            WHEN p.status = 'failed' AND why < 0.12 THEN 'Too many processes and threads'
            ELSE ''
        END,
        CASE p.status
            WHEN 'succeeded' THEN 0 WHEN 'failed' THEN 1 WHEN 'aborted' THEN NULL ELSE 137
        END,
        CASE WHEN p.status = 'out_of_memory' THEN 'SIGKILL' ELSE '' END,
        CASE
            WHEN p.status = 'timed_out' THEN '["wall_time"]'
            WHEN p.status = 'out_of_memory' THEN '["memory"]'
            WHEN p.status = 'failed' AND why < 0.05 THEN '["workspace_bytes"]'
            WHEN p.status = 'failed' AND why < 0.12 THEN '["processes"]'
            WHEN luck < 0.01 THEN '["output"]'
            ELSE '[]'
        END::jsonb,
        repeat(md5(n::text) || chr(10), 1 + n %% 20),
        CASE WHEN p.status = 'failed' AND why > 0.12 THEN
            'Traceback (most recent call last):' || chr(10)
            || '  File "/mnt/data/main.py", line 2' || chr(10) || 'ValueError: ' || md5(n::text)
        ELSE '' END,
        33 * (1 + n %% 20), 0, p.created_at, '', p.created_at + interval '1 second',
        CASE p.status
            WHEN 'timed_out' THEN 30000 + n %% 40
            WHEN 'aborted' THEN NULL
            ELSE (
                CASE p.language WHEN 'py' THEN 14 WHEN 'bash' THEN 24 ELSE 48 END
                -- Normally distributed in its logarithm (Box and Muller), and a few that compute.
                * exp(1.1 * sqrt(-2 * ln(1 - luck)) * cos(2 * pi() * turn) + hour / 48)
                + CASE WHEN why > 0.96 THEN 2500 * turn ELSE 0 END
            )::int
        END,
        12, 60000000 + n, '{"auth": 1, "claim": 2, "run": 9, "store": 1, "total": 15}'
    FROM placed AS p JOIN audit_sandboxsession AS s
    ON s.id = 'bench-s-' || lpad(p.session::text, 13, '0')
    ORDER BY p.created_at
"""
FILES = """
    INSERT INTO audit_sandboxfile (
        id, session_id, execution_id, name, size, sha256, content_type, read_only, executable,
        created_at, deleted_at
    )
    SELECT
        'bench-f-' || lpad(n::text, 13, '0'), session_id, e.id, 'report-' || n || '.csv',
        (8000 * exp(2 * random()))::int, md5(n::text) || md5(n::text), 'text/csv', false, false,
        e.created_at, CASE WHEN e.created_at < now() - interval '2 days' THEN now() END
    FROM generate_series(1, %(files)s) AS n
    JOIN audit_execution AS e ON e.id = 'bench-e-' || lpad((n * 4)::text, 13, '0')
"""
TABLES = ("audit_sandboxsession", "audit_sandboxcontainer", "audit_execution", "audit_sandboxfile")


def load(connection: psycopg.Connection[tuple[object, ...]], amount: Amount) -> None:
    """Into a database without executions, as its owner with the rights of a superuser: triggers
    that look for rows that come late would look at every one."""
    values = {
        "executions": amount.executions,
        "days": amount.days,
        "span": f"{amount.days} days",
        "keys": amount.keys,
        "users": amount.users,
        "sessions": amount.sessions,
        "files": amount.files,
    }
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SELECT setseed(0.42)")
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(KEYS, values)
        values["key_ids"] = [row[0] for row in cursor.fetchall()]
        for statement in (SESSIONS, CONTAINERS, EXECUTIONS, FILES):
            cursor.execute(statement, values)
        for table in TABLES:
            cursor.execute(SQL("ANALYZE {}").format(Identifier(table)))
