from __future__ import annotations

from datetime import datetime, time
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Count, Model, OuterRef, Subquery
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.contrib.filters.admin import RangeDateFilter, TextFilter
from unfold.paginator import InfinitePaginator
from unfold.utils import parse_date_str

from keys.admin.theme import ModelAdmin, TabularInline, is_offered
from keys.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import QuerySet
    from django.http import HttpRequest

Row = TypeVar("Row", bound=Model)
Parent = TypeVar("Parent", bound=Model)


class ReadOnly:
    """What happened is not edited: rows are added and removed by the service alone."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class RecordAdmin(ReadOnly, ModelAdmin[Row]):
    """Made for tables with millions of rows: nothing is counted, and the order is an index."""

    show_full_result_count = False
    paginator = InfinitePaginator
    list_per_page = 50
    list_disable_select_all = True
    list_filter_submit = True
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ("created_at",)
    # Which the dashboard's links ask for, beside those that have a filter: all see these.
    linked_lookups: ClassVar[tuple[str, ...]] = ()

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        return is_offered(self, lookup) and super().lookup_allowed(lookup, value, request)


class DayRangeFilter(RangeDateFilter):
    """Whole days, both included. The theme's own ends where the last day begins."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Row]) -> QuerySet[Row]:
        if first := self.moment("from", time.min):
            queryset = queryset.filter(**{f"{self.parameter_name}__gte": first})
        if last := self.moment("to", time.max):
            queryset = queryset.filter(**{f"{self.parameter_name}__lte": last})
        return queryset

    def moment(self, end: str, at: time) -> datetime | None:
        text = self.used_parameters.get(f"{self.parameter_name}_{end}")
        day = parse_date_str(text)
        return day and timezone.make_aware(datetime.combine(day, at))


class UserFilter(TextFilter):
    """One user's, whole: a part would be looked for in every row."""

    title = "user"
    parameter_name = "user"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Row]) -> QuerySet[Row]:
        user_id = self.value()
        return queryset.filter(user_id=user_id.replace("\0", "")) if user_id else queryset


class RecordInline(ReadOnly, TabularInline[Row, Parent]):
    extra = 0
    per_page = 20
    hide_title = True


def quoted(row: Model) -> str:
    """Its id, as the admin writes ids into addresses."""
    return str(quote(row.pk))


def link(row: Model | None, text: str | None = None) -> str:
    if row is None:
        return "-"
    url = reverse(f"admin:{row._meta.label_lower.replace('.', '_')}_change", args=(quoted(row),))
    text = visible(str(row) if text is None else text)
    return format_html('<a class="text-link" href="{}">{}</a>', url, text)


def shown(column: str) -> Callable[[Any, Any], str]:
    """A column that others filled, with nothing in it hidden or out of order."""

    @admin.display(description=column.removesuffix("_id").replace("_", " "))
    def show(self: Any, row: Model) -> str:
        return visible(getattr(row, column)) or "-"

    return show


def duration(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "-"
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def size(number: int | None) -> str:
    return "-" if number is None else filesizeformat(number)


def count(rows: QuerySet[Any], foreign_key: str) -> Subquery:
    """How many rows point here: per listed row by its index, never a join of whole tables."""
    pointing = rows.filter(**{foreign_key: OuterRef("pk")}).order_by().values(foreign_key)
    return Subquery(pointing.annotate(count=Count("pk")).values("count"))
