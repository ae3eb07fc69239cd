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

__all__ = ["ModelAdmin", "TabularInline", "action", "label"]


def label(text: str, kind: str | None = None) -> SafeString:
    """A coloured badge, in lists and on pages alike; Unfold's own decorator knows lists only."""
    return render_to_string("unfold/helpers/label.html", {"text": text, "type": kind})
