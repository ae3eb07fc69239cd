from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Count, Max
from django.urls import reverse
from django.utils.html import format_html

from keys import environment
from keys.admin.forms import (
    ACCESS_FIELDSET,
    IMAGE_FIELDSET,
    LIMIT_FIELDSETS,
    QUOTA_FIELDSETS,
    RECORD_FIELDSET,
    IssuerForm,
)
from keys.admin.theme import ModelAdmin, is_offered, label
from keys.models import Issuer
from keys.public_keys import InvalidKeys

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

WHO: tuple[Any, ...] = (None, {"fields": ("name", "enabled", "owner", "note")})
HELP = (
    "LibreChat 0.8.6 and later signs its calls with CODEAPI_JWT_ENABLED=true and a private key of "
    "its own in CODEAPI_JWT_PRIVATE_KEY; the public one belongs here. Make the two with: openssl "
    "genpkey -algorithm ed25519 -out codeapi.pem; openssl pkey -in codeapi.pem -pubout"
)
OWN_TOKENS: tuple[Any, ...] = (
    "Tokens",
    {"description": HELP, "fields": (("iss", "aud"), "public_keys")},
)
ENVIRONMENT_TOKENS: tuple[Any, ...] = (
    "Tokens, from the environment",
    {
        "description": "The CODEAPI_JWT_ settings of this server say so; here they cannot be "
        "changed.",
        "fields": (("issuer", "audience"),),
    },
)
OF_ALL: tuple[Any, ...] = (
    ACCESS_FIELDSET,
    *QUOTA_FIELDSETS,
    IMAGE_FIELDSET,
    RECORD_FIELDSET,
    *LIMIT_FIELDSETS,
)
USE: tuple[Any, ...] = (
    "Use",
    {"fields": ("usable_keys", ("tenant_count", "last_used_at"), "created_at")},
)


@admin.register(Issuer)
class IssuerAdmin(ModelAdmin[Issuer]):
    form = IssuerForm
    list_display = (
        "__str__",
        "state",
        "issuer",
        "audience",
        "source",
        "tenant_count",
        "last_used_at",
    )
    search_fields = ("name", "iss", "owner", "note")
    readonly_fields = (
        "issuer",
        "audience",
        "usable_keys",
        "tenant_count",
        "last_used_at",
        "created_at",
    )

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        return is_offered(self, lookup) and super().lookup_allowed(lookup, value, request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Issuer]:
        tenants = {"tenant_rows": Count("tenants"), "last_token_at": Max("tenants__last_used_at")}
        return super().get_queryset(request).annotate(**tenants)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if environment.is_configured():
            Issuer.objects.for_environment()
        return super().changelist_view(request, extra_context)

    def get_fieldsets(self, request: HttpRequest, obj: Issuer | None = None) -> tuple[Any, ...]:
        if obj is None:
            return (WHO, OWN_TOKENS, *OF_ALL)
        tokens = ENVIRONMENT_TOKENS if obj.from_environment else OWN_TOKENS
        return (WHO, tokens, *OF_ALL, USE)

    def has_delete_permission(self, request: HttpRequest, obj: Issuer | None = None) -> bool:
        """Only what never let anybody in: the audit log needs the rest, which is turned off."""
        unused = obj is not None and not obj.from_environment and not obj.tenants.exists()
        return unused and super().has_delete_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: Issuer, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and "name" in form.changed_data:
            obj.rename_tenants()

    @admin.display(description="state")
    def state(self, issuer: Issuer) -> str:
        if issuer.from_environment and not environment.is_configured():
            return label("not configured", "warning")
        return label("on", "success") if issuer.enabled else label("off", "warning")

    @admin.display(description="keys from")
    def source(self, issuer: Issuer) -> str:
        return "the environment" if issuer.from_environment else "here"

    @admin.display(description="keys in use")
    def usable_keys(self, issuer: Issuer) -> str:
        try:
            keys = issuer.keys()
        except InvalidKeys as error:
            return str(error)
        return ", ".join(map(str, keys)) or "none"

    @admin.display(description="tenants")
    def tenant_count(self, issuer: Issuer) -> str:
        return format_html(
            '<a class="text-link" href="{}?issuer__id__exact={}">{}</a>',
            reverse("admin:keys_apikey_changelist"),
            issuer.pk,
            getattr(issuer, "tenant_rows", 0),
        )

    @admin.display(description="last token")
    def last_used_at(self, issuer: Issuer) -> datetime | None:
        return getattr(issuer, "last_token_at", None)
