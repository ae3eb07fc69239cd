"""By what runs are counted, and how, in SQL: for the rows that are kept and for live ones alike."""

from __future__ import annotations

from dataclasses import dataclass

from audit.statistics.durations import BUCKET

# Hours begin where the server's time zone has them begin, which is not everywhere on UTC's hour.
BIN = "date_bin(%(width)s, created_at, %(origin)s)"
# Between the status and the message of a failure; no status has a space in it.
SEPARATOR = " "


@dataclass(frozen=True, slots=True)
class Facet:
    name: str
    value: str
    source: str = "audit_execution"
    rows: str = "true"
    by_key: bool = False

    def live(self, where: str) -> str:
        """Of each bin: hour, value, key_id and runs."""
        return f"""
            SELECT {BIN} AS hour, {self.value} AS value,
                {"key_id" if self.by_key else "NULL::bigint"} AS key_id, count(*)::int AS runs
            FROM {self.source} WHERE {self.rows} AND {where} GROUP BY 1, 2, 3
        """  # noqa: S608 - of constants


OUTCOME = Facet("outcome", "status", by_key=True)
LANGUAGE = Facet("language", "language")
SOURCE = Facet("source", "container_source", rows="container_source <> ''")
USER = Facet("user", "user_id", rows="user_id <> ''")
FAILURE = Facet(
    "failure",
    f"status || '{SEPARATOR}' || message",
    rows="status IN ('failed', 'timed_out', 'out_of_memory', 'aborted')",
)
LIMIT = Facet(
    "limit",
    "hit",
    source="audit_execution CROSS JOIN LATERAL jsonb_array_elements_text(limits_hit) AS hit",
    rows="limits_hit <> '[]'",
)
FACETS = (OUTCOME, LANGUAGE, SOURCE, USER, FAILURE, LIMIT)


def live_durations(where: str) -> str:
    """Of each bin: hour, key_id, bucket and runs."""
    return f"""
        SELECT {BIN} AS hour, key_id, {BUCKET} AS bucket, count(*)::int AS runs
        FROM audit_execution WHERE wall_ms IS NOT NULL AND {where} GROUP BY 1, 2, 3
    """  # noqa: S608 - of constants
