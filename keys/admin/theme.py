"""Unfold's admin classes with the types of Django's, which they extend; Unfold has none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.template.loader import render_to_string

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from django.contrib.admin import ModelAdmin, TabularInline
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
    from unfold.admin import ModelAdmin, TabularInline
    from unfold.decorators import action

__all__ = ["ModelAdmin", "TabularInline", "action", "is_offered", "label"]


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
    linked = getattr(page, "linked_columns", ())
    return column in {*linked, *(_column(each) for each in page.list_filter)}


def _column(list_filter: Any) -> str:
    name = list_filter[0] if isinstance(list_filter, (tuple, list)) else list_filter
    return str(getattr(name, "parameter_name", name)).partition("__")[0]
