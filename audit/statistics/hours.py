"""Hours as the server's time zone has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.utils import timezone

HOUR = timedelta(hours=1)


def origin(now: datetime | None = None) -> datetime:
    """A moment at which an hour begins: in India, half an hour after UTC's."""
    offset = timezone.localtime(now).utcoffset() or timedelta()
    return datetime(2000, 1, 1, tzinfo=UTC) - offset % HOUR


def floor(moment: datetime, width: timedelta, since: datetime) -> datetime:
    return moment - (moment - since) % width
