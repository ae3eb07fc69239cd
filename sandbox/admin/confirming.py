"""A page that asks before something is done that cannot be taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.template.response import TemplateResponse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import Model
    from django.http import HttpRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    title: str
    consequence: str
    button: str
    rows: Sequence[Model]
    # Where one is led who does not want it.
    back: str
    # Of the list's actions, which one asks.
    action: str = ""

    def is_confirmed(self, request: HttpRequest) -> bool:
        return request.method == "POST" and "confirmed" in request.POST

    def ask(self, request: HttpRequest) -> TemplateResponse:
        context: dict[str, Any] = admin.site.each_context(request) | {
            "title": self.title,
            "question": self,
            "opts": self.rows[0]._meta,
        }
        return TemplateResponse(request, "sandbox/confirm.html", context)
