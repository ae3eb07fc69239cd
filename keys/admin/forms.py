from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
)

from keys import images
from keys.limits import BY_NAME, LIMITS, Scope
from keys.models import APIKey, Issuer, KeyScope
from keys.models.credential import all_scopes
from keys.networks import HINT, why_not_a_network
from keys.quotas import MEANINGS, MOST, QUOTA_BY_NAME, QUOTAS, Holder

if TYPE_CHECKING:
    from datetime import datetime

Row = TypeVar("Row", bound=Model)

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
OF = {
    Holder.KEY: ("Quotas", "Of all that is done with it; each tenant of an issuer has its own."),
    Holder.USER: ("Quotas of each user", "Of each LibreChat user, where the call tells who it is."),
}
QUOTA_FIELDSETS: tuple[Any, ...] = tuple(
    (
        title,
        {
            "description": f"{whose} Empty: the server's. 0: none. From the next call on.",
            "fields": pairs([quota.name for quota in QUOTAS if quota.holder == holder]),
        },
    )
    for holder, (title, whose) in OF.items()
)
ACCESS_FIELDSET: tuple[Any, ...] = ("Access", {"fields": ("scopes", "networks")})
STORED = ("store_code", "store_output")
RECORD_FIELDSET: tuple[Any, ...] = ("Audit log", {"fields": STORED})
IMAGE_FIELDSET: tuple[Any, ...] = ("Image", {"fields": ("image",)})
MAX_GRACE_HOURS = 24 * 90


class CredentialForm(forms.ModelForm[Row]):
    scopes = forms.MultipleChoiceField(
        choices=KeyScope.choices,
        initial=all_scopes,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text=APIKey._meta.get_field("scopes").help_text,
    )

    image = forms.ChoiceField(
        required=False,
        label="Sandbox image",
        widget=UnfoldAdminSelectWidget,
        help_text=APIKey._meta.get_field("image").help_text,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(field := self.fields.get("image"), forms.ChoiceField):
            field.choices = self._images()
        for name in self.fields.keys() & BY_NAME.keys():
            limit = BY_NAME[name]
            self.fields[name].help_text = f"The server's: {limit.of_server}. {limit.meaning}"
            self.fields[name].widget.attrs |= {"min": limit.lowest, "placeholder": limit.of_server}
        for name in self.fields.keys() & QUOTA_BY_NAME.keys():
            quota = QUOTA_BY_NAME[name]
            server = str(quota.of_server or "none")
            self.fields[name].help_text = f"The server's: {server}. {MEANINGS[quota.measure]}"
            self.fields[name].widget.attrs |= {"min": 0, "max": MOST, "placeholder": server}

    def _images(self) -> list[tuple[str, str]]:
        """Also one that has left the settings, so that the form does not change it unasked."""
        named = [name for name in images.names() if name != images.DEFAULT]
        own: str = getattr(self.instance, "image", "")
        if own and own not in named:
            named.append(own)
        return [("", images.DEFAULT), *((name, name) for name in named)]

    def clean_networks(self) -> list[str]:
        networks: list[str] = self.cleaned_data["networks"]
        for text in networks:
            if reason := why_not_a_network(text):
                raise ValidationError(f"{text!r} is not a network ({reason}). {HINT}")
        return networks

    def clean(self) -> dict[str, Any] | None:
        """Of what was changed only: a setting that was lowered since keeps nobody from changing
        something else."""
        cleaned = super().clean()
        for name in BY_NAME.keys() & set(self.changed_data):
            value = self.cleaned_data.get(name)
            if value is not None and (refusal := BY_NAME[name].refusal(value)):
                self.add_error(name, refusal)
        return cleaned


class APIKeyForm(CredentialForm[APIKey]):
    class Meta:
        model = APIKey
        fields = (
            "name",
            "expires_at",
            "owner",
            "note",
            "scopes",
            "networks",
            "image",
            *STORED,
            *BY_NAME,
            *QUOTA_BY_NAME,
        )

    def clean_expires_at(self) -> datetime | None:
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if self.instance.pk is None and expires_at and expires_at <= timezone.now():
            raise ValidationError("A new key must expire in the future, or never.")
        return expires_at


class IssuerForm(CredentialForm[Issuer]):
    class Meta:
        model = Issuer
        fields = (
            "name",
            "enabled",
            "iss",
            "aud",
            "public_keys",
            "owner",
            "note",
            "scopes",
            "networks",
            "image",
            *STORED,
            *BY_NAME,
            *QUOTA_BY_NAME,
        )


class RotateForm(forms.Form):
    grace_hours = forms.IntegerField(
        label="Hours for which the present secret stays valid",
        initial=24,
        min_value=0,
        max_value=MAX_GRACE_HOURS,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Time to change LibreChat's settings. 0 if the secret has leaked.",
    )
