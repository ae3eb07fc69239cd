"""Unfold's admin classes with the types of Django's, which they extend; Unfold has none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.template.loader import render_to_string

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from django.contrib.admin import ModelAdmin, TabularInline
    from django.http import HttpRequest
    from django.utils.safestring import SafeString

    Method = TypeVar("Method", bound=Callable[..., Any])

    def action(
        *,
        description: str,
        permissions: Sequence[str],
        icon: str,
        variant: Any,
    ) -> Callable[[Method], Method]: ...
else:
    from unfold import admin
    from unfold.admin import TabularInline
    from unfold.decorators import action

    class ModelAdmin(admin.ModelAdmin):
        def history_view(self, request, object_id, extra_context=None):
            """A part of the log, for those who may read that."""
            if not may_read_log(request):
                raise PermissionDenied
            return super().history_view(request, object_id, extra_context)


__all__ = ["ModelAdmin", "TabularInline", "action", "is_offered", "label", "may_read_log"]


def may_read_log(request: HttpRequest) -> bool:
    return request.user.has_perm("admin.view_logentry")


def label(text: str, kind: str | None = None) -> SafeString:
    """A coloured badge, in lists and on pages alike; Unfold's own decorator knows lists only."""
    return render_to_string("unfold/helpers/label.html", {"text": text, "type": kind})


def is_offered(page: Any, lookup: str) -> bool:
    """Whether one of the list's filters asks this, or a link that leads to it. Django lets an
    address ask for any column, so what is not shown could be guessed letter by letter: by whether
    a row is found."""
    column = lookup.partition("__")[0]
    if column not in {field.name for field in page.opts.get_fields()}:
        # A filter of its own, or nothing.
        return True
    offered = {_column(each) for each in page.list_filter}
    return column in offered or lookup in getattr(page, "linked_lookups", ())


def _column(list_filter: Any) -> str:
    name = list_filter[0] if isinstance(list_filter, (tuple, list)) else list_filter
    return str(getattr(name, "parameter_name", name)).partition("__")[0]
