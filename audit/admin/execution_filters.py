from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from audit.models import Execution, LimitHit

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest

Lookups = list[tuple[str, str]]


class LanguageFilter(admin.SimpleListFilter):
    """Those of the newest runs: to ask for all that ever occurred would read the whole table."""

    title = "language"
    parameter_name = "language"
    newest = 1000

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Lookups:
        recent = Execution.objects.values_list("language", flat=True)[: self.newest]
        return [(language, language) for language in sorted({*recent, self.value() or ""} - {""})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Execution]) -> QuerySet[Execution]:
        return queryset.filter(language=self.value()) if self.value() else queryset


class LimitFilter(admin.SimpleListFilter):
    title = "limit"
    parameter_name = "limit"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Lookups:
        return [(limit.value, str(limit.label)) for limit in LimitHit]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Execution]) -> QuerySet[Execution]:
        limit = self.value()
        return queryset.filter(limits_hit__contains=[limit]) if limit else queryset


class DurationFilter(admin.SimpleListFilter):
    """By the clock. The long ones, which are few, are looked up in an index of their own."""

    title = "duration"
    parameter_name = "duration"
    ranges = {  # noqa: RUF012 - Django's own class does not say ClassVar
        "100ms": ("up to 100 ms", None, 100),
        "1s": ("100 ms to 1 s", 100, 1000),
        "10s": ("1 s to 10 s", 1000, 10_000),
        "60s": ("10 s to 60 s", 10_000, 60_000),
        "longer": ("60 s and more", 60_000, None),
    }

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Lookups:
        return [(name, text) for name, (text, _, _) in self.ranges.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Execution]) -> QuerySet[Execution]:
        _, least, below = self.ranges.get(self.value() or "", ("", None, None))
        if least is not None:
            queryset = queryset.filter(wall_ms__gte=least)
        return queryset if below is None else queryset.filter(wall_ms__lt=below)
