"""The periods that one looks back on, and the parts that a chart shows of them.

Days and hours are those of the server's time zone, `TIME_ZONE`, in which the admin shows all times;
a day with a change of the clocks has 23 or 25 hours.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from django.utils import timezone

from audit.statistics.hours import HOUR, floor, origin

FIVE_MINUTES = timedelta(minutes=5)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Period:
    """From the first edge to the last, which is not in it; each two neighbours have a bin between
    them. The last bin is the present one, so that it ends in the future."""

    edges: tuple[datetime, ...]
    # Of what is counted together; a bin consists of whole ones.
    width: timedelta
    origin: datetime

    @property
    def begin(self) -> datetime:
        return self.edges[0]

    @property
    def end(self) -> datetime:
        return self.edges[-1]

    @property
    def bins(self) -> list[tuple[datetime, datetime]]:
        return list(zip(self.edges, self.edges[1:], strict=False))

    def bin_of(self, moment: datetime) -> int:
        return bisect_right(self.edges, moment) - 1


@dataclass(frozen=True, slots=True)
class Choice:
    """What can be chosen, and how it is called."""

    name: str
    title: str
    # How a bin is written below a chart, and in full.
    short: str
    long: str
    make: Callable[[datetime], Period]
    # A label for each so many bins.
    labelled: int


def back(now: datetime, width: timedelta, bins: int) -> Period:
    since = origin(now)
    first = floor(now, width, since) - (bins - 1) * width
    return Period(tuple(first + n * width for n in range(bins + 1)), width, since)


def whole_days(now: datetime, days: int, hours: tuple[int, ...]) -> Period:
    """To the end of today; each day has a bin from each of these hours on."""
    today = timezone.localtime(now).date()
    zone = timezone.get_current_timezone()
    starts = [
        datetime.combine(today - n * DAY, time(hour), zone)
        for n in reversed(range(days))
        for hour in hours
    ]
    edges = [*starts, datetime.combine(today + DAY, time(), zone)]
    # Two moments of one zone would be compared by their clocks, which change.
    utc = tuple(sorted({edge.astimezone(UTC) for edge in edges}))
    return Period(utc, HOUR, origin(now))


CHOICES = {
    choice.name: choice
    for choice in (
        Choice("hour", "Last hour", "H:i", "H:i", lambda now: back(now, FIVE_MINUTES, 12), 3),
        Choice("day", "Last 24 hours", "H:i", "D H:i", lambda now: back(now, HOUR, 24), 6),
        Choice(
            "week",
            "Last 7 days",
            "D j M",
            "D j M, H:i",
            lambda now: whole_days(now, 7, (0, 6, 12, 18)),
            4,
        ),
        Choice("month", "Last 30 days", "j M", "D j M", lambda now: whole_days(now, 30, (0,)), 7),
    )
}
DEFAULT = "day"
