"""How many runs of a period have what in common: what the keeper has counted, and the rest live."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.db import connection

from audit.models import Execution
from audit.statistics.facets import OUTCOME, SOURCE, Facet, live_durations
from audit.statistics.periods import Period
from audit.statistics.spans import Spans, within


@dataclass(frozen=True)
class Statistics:
    """Of the runs of a period: of all, or of some keys."""

    period: Period
    keys: tuple[int, ...] | None = None

    @cached_property
    def outcomes(self) -> Counter[tuple[datetime, str]]:
        """By hour, or what is counted together, and status."""
        rows = self._ask(
            f"SELECT hour, value, sum(runs) FROM {self._facts(OUTCOME)} GROUP BY 1, 2"  # noqa: S608
        )
        return Counter({(hour, status): runs for hour, status, runs in rows})

    @property
    def statuses(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for (_, status), runs in self.outcomes.items():
            found[status] += runs
        return found

    @property
    def statuses_by_bin(self) -> list[Counter[str]]:
        found: list[Counter[str]] = [Counter() for _ in self.period.bins]
        for (hour, status), runs in self.outcomes.items():
            found[self.period.bin_of(hour)][status] += runs
        return found

    @property
    def runs_by_hour(self) -> Counter[datetime]:
        found: Counter[datetime] = Counter()
        for (hour, _), runs in self.outcomes.items():
            found[hour] += runs
        return found

    @cached_property
    def sources(self) -> Counter[str]:
        """Where the runs' containers came from."""
        return Counter(dict(self.most(SOURCE, len(Execution.Source))))

    def most(self, facet: Facet, limit: int) -> list[tuple[str, int]]:
        """The most frequent values, and how many runs each has."""
        return self._ask(
            f"SELECT value, sum(runs) AS runs FROM {self._facts(facet)}"  # noqa: S608
            " GROUP BY 1 ORDER BY runs DESC, value LIMIT %(limit)s",
            limit=limit,
        )

    def busiest_keys(self, limit: int) -> list[tuple[int, int]]:
        return self._ask(
            f"SELECT key_id, sum(runs) AS runs FROM {self._facts(OUTCOME)}"  # noqa: S608
            " GROUP BY 1 ORDER BY runs DESC, key_id LIMIT %(limit)s",
            limit=limit,
        )

    @cached_property
    def durations_by_bin(self) -> list[dict[int, int]]:
        found: list[dict[int, int]] = [{} for _ in self.period.bins]
        of_keys = "IS NULL" if self.keys is None else "= ANY(%(keys)s)"
        rows = self._ask(
            f"""
            SELECT width_bucket(hour, %(edges)s::timestamptz[]) - 1, bucket, sum(runs) FROM (
                SELECT hour, unnest(buckets) AS bucket, unnest(runs) AS runs
                FROM audit_hourlydurations
                WHERE key_id {of_keys} AND {within("hour", self._spans.rolled_up)}
                UNION ALL
                SELECT hour, bucket, runs FROM ({live_durations(self._live)}) AS live
            ) AS durations GROUP BY 1, 2
            """,  # noqa: S608 - of constants
            edges=list(self.period.edges),
        )
        for index, bucket, runs in rows:
            found[index][bucket] = runs
        return found

    @cached_property
    def _spans(self) -> Spans:
        return Spans.of(self.period)

    @property
    def _live(self) -> str:
        return f"{within('created_at', self._spans.live)} AND {self._of_keys}"

    @property
    def _of_keys(self) -> str:
        return "true" if self.keys is None else "key_id = ANY(%(keys)s)"

    def _facts(self, facet: Facet) -> str:
        if self.keys is not None and not facet.by_key:
            raise ValueError(f"{facet.name} is not counted by key")
        return f"""(
            SELECT hour, value, key_id, runs FROM audit_hourlycount
            WHERE facet = '{facet.name}' AND {within("hour", self._spans.rolled_up)}
            AND {self._of_keys}
            UNION ALL {facet.live(self._live)}
        ) AS facts"""  # noqa: S608 - of constants

    def _ask(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        values |= {
            "width": self.period.width,
            "origin": self.period.origin,
            "keys": list(self.keys or ()),
        }
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found
