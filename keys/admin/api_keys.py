from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count
from django.http import HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.enums import ActionVariant

from keys.admin.theme import ModelAdmin, action, label
from keys.limits import BY_NAME, LIMITS, Scope
from keys.models import APIKey

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpRequest

FIRST = "Empty: the server's. What a key has of its own can only be less. "
WHEN = {
    Scope.RUN: f"{FIRST}From the next run on.",
    Scope.CONTAINER: f"{FIRST}From the next run on: containers with other limits are not used "
    "again, and with limits of its own a key takes none from the pool.",
}


def pairs(names: list[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(names[index : index + 2]) for index in range(0, len(names), 2))


LIMIT_FIELDSETS: tuple[Any, ...] = tuple(
    (
        scope.value,
        {
            "description": WHEN[scope],
            "fields": pairs([limit.name for limit in LIMITS if limit.scope == scope]),
        },
    )
    for scope in Scope
)
STATES = {"usable": "success", "expired": "warning", "revoked": "danger"}


def env(base: str, secret: str) -> str:
    return f"LIBRECHAT_CODE_BASEURL={base}\nLIBRECHAT_CODE_API_KEY={secret}"


class APIKeyForm(forms.ModelForm[APIKey]):
    class Meta:
        model = APIKey
        fields = ("name", "expires_at", "note", *BY_NAME)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.fields.keys() & BY_NAME.keys():
            limit = BY_NAME[name]
            self.fields[name].help_text = f"The server's: {limit.of_server}. {limit.meaning}"
            self.fields[name].widget.attrs |= {"min": limit.lowest, "placeholder": limit.of_server}

    def clean(self) -> dict[str, Any] | None:
        """Of what was changed only: a setting that was lowered since keeps nobody from changing
        something else."""
        cleaned = super().clean()
        for name in BY_NAME.keys() & set(self.changed_data):
            value = self.cleaned_data.get(name)
            if value is not None and (refusal := BY_NAME[name].refusal(value)):
                self.add_error(name, refusal)
        return cleaned

    def clean_expires_at(self) -> datetime | None:
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if self.instance.pk is None and expires_at and expires_at <= timezone.now():
            raise forms.ValidationError("A new key must expire in the future, or never.")
        return expires_at


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        return [(state, state.capitalize()) for state in STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[APIKey]) -> QuerySet[APIKey]:
        now = timezone.now()
        match self.value():
            case "usable":
                return queryset.filter(revoked_at=None).exclude(expires_at__lte=now)
            case "expired":
                return queryset.filter(revoked_at=None, expires_at__lte=now)
            case "revoked":
                return queryset.exclude(revoked_at=None)
        return queryset


@admin.register(APIKey)
class APIKeyAdmin(ModelAdmin[APIKey]):
    """A key is revoked, never deleted, and its secret is shown in the answer that made it. Not as
    one of Django's messages: those pass through a cookie or the session table."""

    form = APIKeyForm
    list_display = ("__str__", "beginning", "state", "created_at", "last_used_at", "runs")
    list_filter = (StateFilter,)
    search_fields = ("name", "prefix", "note")
    readonly_fields = ("beginning", "state", "created_at", "last_used_at", "revoked_at", "runs")
    fieldsets = (
        (None, {"fields": ("name", "expires_at", "note")}),
        *LIMIT_FIELDSETS,
        (
            "Use",
            {
                "fields": (
                    ("beginning", "state"),
                    ("created_at", "revoked_at"),
                    ("last_used_at", "runs"),
                )
            },
        ),
    )
    add_fieldsets = ((None, {"fields": ("name", "expires_at", "note")}), *LIMIT_FIELDSETS)
    actions = ("revoke_selected",)
    actions_detail = ("revoke",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[APIKey]:
        return super().get_queryset(request).annotate(run_count=Count("executions"))

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
        scheme, host = request.scheme, request.get_host()
        base = f"{scheme}://{host}"
        context = self.admin_site.each_context(request) | {
            "title": "API key issued",
            "opts": self.opts,
            "key": obj,
            "base": base,
            "env_with_header": env(base, obj.secret),
            "env_with_url": env(f"{scheme}://any:{obj.secret}@{host}", obj.secret),
        }
        return TemplateResponse(request, "keys/issued.html", context)

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
        context = self.admin_site.each_context(request) | {
            "title": "Revoke",
            "opts": self.opts,
            "keys": keys,
        }
        return TemplateResponse(request, "keys/revoke.html", context)
