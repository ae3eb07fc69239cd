"""Which parts of a period the keeper has counted already."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from audit.models import RolledUpHour
from audit.statistics.hours import HOUR, floor
from audit.statistics.periods import Period

Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Spans:
    """Asked once, so that the two never overlap, whatever the keeper does meanwhile."""

    rolled_up: tuple[Span, ...]
    live: tuple[Span, ...]

    @classmethod
    def of(cls, period: Period) -> Spans:
        hours = list(
            RolledUpHour.objects.filter(hour__gte=period.begin, hour__lt=period.end)
            .order_by("hour")
            .values_list("hour", flat=True)
        )
        # After a change of the time zone, until the keeper has counted again.
        is_usable = all(floor(hour, HOUR, period.origin) == hour for hour in hours)
        if period.width != HOUR or not is_usable:
            hours = []
        rolled_up = tuple(joined((hour, hour + HOUR) for hour in hours))
        edges = [period.begin, *(moment for span in rolled_up for moment in span), period.end]
        gaps = zip(edges[::2], edges[1::2], strict=True)
        return cls(rolled_up, tuple((begin, end) for begin, end in gaps if begin < end))


def joined(spans: Iterable[Span]) -> Iterable[Span]:
    """Neighbours as one; they come in order."""
    whole: Span | None = None
    for begin, end in spans:
        if whole and whole[1] == begin:
            whole = whole[0], end
            continue
        if whole:
            yield whole
        whole = begin, end
    if whole:
        yield whole


def within(column: str, spans: tuple[Span, ...]) -> str:
    """SQL; the moments are ours and need no quoting."""
    ranges = (
        f"{column} >= '{begin.isoformat()}' AND {column} < '{end.isoformat()}'"
        for begin, end in spans
    )
    return f"({' OR '.join(ranges) or 'false'})"
