from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.enums import ActionVariant

from keys.admin.filters import KINDS, STATES, KindFilter, StateFilter
from keys.admin.forms import (
    ACCESS_FIELDSET,
    IMAGE_FIELDSET,
    LIMIT_FIELDSETS,
    QUOTA_FIELDSETS,
    RECORD_FIELDSET,
    APIKeyForm,
    RotateForm,
)
from keys.admin.issued import issued
from keys.admin.theme import ModelAdmin, action, is_offered, label
from keys.models import APIKey
from keys.visible import visible

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest

OWN_FIELDSETS: tuple[Any, ...] = (
    (None, {"fields": ("name", "expires_at", "owner", "note")}),
    ACCESS_FIELDSET,
    *QUOTA_FIELDSETS,
    IMAGE_FIELDSET,
    RECORD_FIELDSET,
    *LIMIT_FIELDSETS,
)
USE_FIELDSET: tuple[Any, ...] = (
    "Use",
    {
        "fields": (
            ("beginning", "state"),
            ("created_at", "revoked_at"),
            ("last_used_at", "runs"),
            "former_until",
        )
    },
)
TENANT_FIELDSET: tuple[Any, ...] = (
    "Tenant of an issuer",
    {
        "description": "Made by its first valid token. Limits, quotas, scopes and networks "
        "are the issuer's, which can also be turned off; of its quotas each tenant has all.",
        "fields": (("issuer_link", "tenant"),),
    },
)


@admin.register(APIKey)
class APIKeyAdmin(ModelAdmin[APIKey]):
    """A key is revoked, never deleted, and its secret is shown in the answer that made it. Not as
    one of Django's messages: those pass through a cookie or the session table."""

    form = APIKeyForm
    list_display = (
        "__str__",
        "kind",
        "beginning",
        "state",
        "owner",
        "created_at",
        "last_used_at",
        "runs",
    )
    list_filter = (KindFilter, StateFilter, "issuer")
    list_select_related = ("issuer",)
    search_fields = ("name", "prefix", "owner", "note", "=tenant_id")
    readonly_fields = (
        "beginning",
        "kind",
        "state",
        "created_at",
        "last_used_at",
        "revoked_at",
        "former_until",
        "runs",
        "issuer_link",
        "tenant",
    )
    actions = ("revoke_selected",)
    actions_detail = ("rotate", "revoke")

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        return is_offered(self, lookup) and super().lookup_allowed(lookup, value, request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[APIKey]:
        # From the index alone: to join the tables takes seconds with a million runs.
        runs = APIKey._meta.get_field("executions").related_model._default_manager
        of_key = runs.filter(key=OuterRef("pk")).order_by().values("key")
        counted = Subquery(of_key.annotate(runs=Count("*")).values("runs"))
        return super().get_queryset(request).annotate(run_count=Coalesce(counted, 0))

    def get_fieldsets(self, request: HttpRequest, obj: APIKey | None = None) -> tuple[Any, ...]:
        if obj is None:
            return OWN_FIELDSETS
        if obj.kind == "tenant":
            return (TENANT_FIELDSET, USE_FIELDSET)
        return (*OWN_FIELDSETS, USE_FIELDSET)

    @admin.display(description="kind")
    def kind(self, key: APIKey) -> str:
        return label(KINDS[key.kind])

    @admin.display(description="issuer")
    def issuer_link(self, key: APIKey) -> str:
        address = reverse("admin:keys_issuer_change", args=(key.issuer_id,))
        return format_html('<a class="text-link" href="{}">{}</a>', address, key.issuer)

    @admin.display(description="tenant")
    def tenant(self, key: APIKey) -> str:
        return visible(key.tenant_id)

    @admin.display(description="begins with")
    def beginning(self, key: APIKey) -> str:
        return f"lci_{key.prefix}…" if key.has_secret else "no secret"

    @admin.display(description="state")
    def state(self, key: APIKey) -> str:
        return label(key.state, STATES[key.state])

    @admin.display(description="runs", ordering="run_count")
    def runs(self, key: APIKey) -> str:
        return format_html(
            '<a class="text-link" href="{}?key__id__exact={}">{}</a>',
            reverse("admin:audit_execution_changelist"),
            key.pk,
            getattr(key, "run_count", 0),
        )

    def has_delete_permission(self, request: HttpRequest, obj: APIKey | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: APIKey | None = None) -> bool:
        settled = obj is not None and (obj.revoked_at is not None or not obj.has_secret)
        return not settled and super().has_change_permission(request, obj)

    def has_revoke_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        if object_id and not APIKey.objects.revocable().filter(pk=object_id).exists():
            return False
        return super().has_change_permission(request)

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        # All buttons would lead to the page with the secret.
        only_save = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, only_save | (extra_context or {}))

    def save_model(self, request: HttpRequest, obj: APIKey, form: Any, change: bool) -> None:
        if not change:
            obj.set_secret()
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: APIKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        return issued(request, obj, "API key issued", self.page_context(request))

    def page_context(self, request: HttpRequest) -> dict[str, Any]:
        return self.admin_site.each_context(request) | {"opts": self.opts}

    def has_rotate_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        usable = APIKey.objects.revocable().usable()
        if object_id and not usable.filter(pk=object_id).exists():
            return False
        return super().has_change_permission(request)

    @action(
        description="Rotate",
        permissions=("rotate",),
        icon="autorenew",
        variant=ActionVariant.DEFAULT,
    )
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        key = APIKey.objects.get(pk=object_id)
        form = RotateForm(request.POST or None)
        if form.is_valid():
            hours = form.cleaned_data["grace_hours"]
            if key.rotate(timedelta(hours=hours)):
                self.log_change(request, key, f"Rotated, {hours} hours of grace.")
                return issued(request, key, "New secret", self.page_context(request))
            self.message_user(request, f"{key} was just changed by somebody else.", "ERROR")
            return HttpResponseRedirect(reverse("admin:keys_apikey_change", args=(object_id,)))
        context = self.page_context(request) | {"title": "Rotate", "key": key, "form": form}
        return TemplateResponse(request, "keys/rotate.html", context)

    @action(
        description="Revoke", permissions=("revoke",), icon="block", variant=ActionVariant.DANGER
    )
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        keys = APIKey.objects.revocable().filter(pk=object_id)
        done = self.confirm_and_revoke(request, keys)
        here = reverse("admin:keys_apikey_change", args=(object_id,))
        return done or HttpResponseRedirect(here)

    @admin.action(description="Revoke the selected keys", permissions=("revoke",))
    def revoke_selected(
        self, request: HttpRequest, queryset: QuerySet[APIKey]
    ) -> HttpResponse | None:
        keys = APIKey.objects.revocable().filter(pk__in=queryset.values("pk"))
        return self.confirm_and_revoke(request, keys)

    def confirm_and_revoke(
        self, request: HttpRequest, keys: QuerySet[APIKey]
    ) -> HttpResponse | None:
        """A page that asks first; None when it is done."""
        if request.method == "POST" and "confirmed" in request.POST:
            for key in keys:
                key.revoke()
                self.log_change(request, key, "Revoked.")
                self.message_user(request, f"{key} is revoked.", messages.SUCCESS)
            return None
        if not keys:
            self.message_user(request, "None of these can be revoked.", messages.WARNING)
            return None
        context = self.page_context(request) | {"title": "Revoke", "keys": keys}
        return TemplateResponse(request, "keys/revoke.html", context)
