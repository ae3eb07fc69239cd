"""Addresses of the list of executions: with what a number or a part of a chart counts, no more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import urlencode

from django.urls import reverse


def address(model: str, **filters: object) -> str:
    """Filters that its list has, or lookups of its own columns, which every list takes."""
    return f"{reverse(f'admin:{model}_changelist')}?{urlencode(filters)}"


@dataclass(frozen=True, slots=True)
class Executions:
    begin: datetime
    end: datetime
    # Whose, if not everybody's.
    owner: tuple[tuple[str, object], ...] = ()

    def between(self, begin: datetime, end: datetime) -> Executions:
        return replace(self, begin=begin, end=end)

    def list(self, **filters: object) -> str:
        moments = {"created_at__gte": written(self.begin), "created_at__lt": written(self.end)}
        return address("audit_execution", **moments, **dict(self.owner), **filters)


def written(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
