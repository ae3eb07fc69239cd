from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.utils import timezone

from keys.models import APIKey

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest

STATES = {"usable": "success", "off": "warning", "expired": "warning", "revoked": "danger"}
KINDS = {"key": "key", "tenant": "tenant of an issuer", "network": "trusted networks"}


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        return [(state, state.capitalize()) for state in STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[APIKey]) -> QuerySet[APIKey]:
        match self.value():
            case "usable":
                return queryset.filter(pk__in=APIKey.objects.usable())
            case "off":
                return queryset.filter(issuer__enabled=False)
            case "expired":
                return queryset.filter(revoked_at=None, expires_at__lte=timezone.now())
            case "revoked":
                return queryset.exclude(revoked_at=None)
        return queryset


class KindFilter(admin.SimpleListFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        return [(kind, text.capitalize()) for kind, text in KINDS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[APIKey]) -> QuerySet[APIKey]:
        match self.value():
            case "key":
                return queryset.exclude(digest="")
            case "tenant":
                return queryset.exclude(issuer=None)
            case "network":
                return queryset.filter(digest="", issuer=None)
        return queryset
