"""Every quota on how much a key, or one user of it, may use of the service: one table.

Each is a setting of the server, `KEYS_` and the name, and a key may have another number of the same
name, lower or higher: unlike a limit, a quota does not protect the machine but divides it up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from keys.models import Credential

MOST = 2**31 - 1
# Nobody can tell when a run ends; most do within a second.
RETRY_SECONDS = 5


class Measure(StrEnum):
    """What is counted."""

    RUNS_PER_MINUTE = "runs_per_minute"
    RUNS_PER_HOUR = "runs_per_hour"
    RUNS_PER_DAY = "runs_per_day"
    CPU_SECONDS_PER_DAY = "cpu_seconds_per_day"
    CONCURRENT_RUNS = "concurrent_runs"
    STORED_MB = "stored_mb"


LABELS = {
    Measure.RUNS_PER_MINUTE: "runs per minute",
    Measure.RUNS_PER_HOUR: "runs per hour",
    Measure.RUNS_PER_DAY: "runs per day",
    Measure.CPU_SECONDS_PER_DAY: "CPU seconds per day",
    Measure.CONCURRENT_RUNS: "runs at a time",
    Measure.STORED_MB: "MB of stored files",
}
MEANINGS = {
    Measure.RUNS_PER_MINUTE: "From second 0 to second 59.",
    Measure.RUNS_PER_HOUR: "From minute 0 to minute 59.",
    Measure.RUNS_PER_DAY: "From midnight to midnight, UTC.",
    Measure.CPU_SECONDS_PER_DAY: "Counted when a run ends, for the day (UTC) on which it began.",
    Measure.CONCURRENT_RUNS: "Those that wait for a container count as well.",
    Measure.STORED_MB: "Uploads and what runs left, in all versions, until their session expires.",
}


class Holder(StrEnum):
    """Whose use is counted."""

    KEY = "key"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Quota:
    """A row of the table."""

    holder: Holder
    measure: Measure
    name: str
    setting: str

    @property
    def label(self) -> str:
        return LABELS[self.measure]

    @property
    def of_server(self) -> int:
        """0 is none."""
        value: int = getattr(settings, self.setting)
        return value

    def in_force(self, credential: Credential) -> int:
        """0 is none. A tenant has its issuer's number, and its own count."""
        own: int | None = getattr(credential, self.name)
        return self.of_server if own is None else own

    @staticmethod
    def refusal(value: int) -> str:
        """Why nobody can have this number; empty if one can."""
        return "" if 0 <= value <= MOST else f"From 0, which is no quota, to {MOST}."


def _quota(holder: Holder, measure: Measure) -> Quota:
    name = measure.value if holder == Holder.KEY else f"user_{measure.value}"
    return Quota(holder, measure, name, f"KEYS_{name.upper()}")


QUOTAS = tuple(_quota(holder, measure) for holder in Holder for measure in Measure)
OF_RUNS = tuple(quota for quota in QUOTAS if quota.measure != Measure.STORED_MB)
OF_STORAGE = tuple(quota for quota in QUOTAS if quota.measure == Measure.STORED_MB)
QUOTA_BY_NAME = {quota.name: quota for quota in QUOTAS}


@dataclass(frozen=True, slots=True)
class Windows:
    """The minute, hour and day (UTC) in which a moment lies.

    They begin with the clock, and do not roll: one counter for each is exact, is one row however
    many runs there were, and can say when there will be room again. The price is that who waits
    for the minute's end can have two minutes' runs at once, which is what the quota on runs at a
    time is for.
    """

    minute: datetime
    hour: datetime
    day: datetime

    @classmethod
    def at(cls, now: datetime) -> Windows:
        minute = now.replace(second=0, microsecond=0)
        hour = minute.replace(minute=0)
        return cls(minute, hour, hour.replace(hour=0))

    def end_of(self, measure: Measure, now: datetime) -> datetime:
        """When there is room again, as far as anybody knows."""
        match measure:
            case Measure.RUNS_PER_MINUTE:
                return self.minute + timedelta(minutes=1)
            case Measure.RUNS_PER_HOUR:
                return self.hour + timedelta(hours=1)
            case Measure.RUNS_PER_DAY | Measure.CPU_SECONDS_PER_DAY:
                return self.day + timedelta(days=1)
            case _:
                return now + timedelta(seconds=RETRY_SECONDS)
