"""A key's page, with what it has used of its quotas."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from audit.models import Usage
from audit.quotas import busiest_users, used
from keys.models import APIKey
from keys.quotas import LABELS, QUOTA_BY_NAME, QUOTAS, Holder, Quota
from keys.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime
DAYS_SHOWN = 7
# From here on it is worth a look.
NEARLY = 0.8


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    used: int
    most: int

    @property
    def shown(self) -> int:
        """What was used before a quota was lowered may be more than there is."""
        return min(self.used, self.most)

    @property
    def level(self) -> str:
        if self.used >= self.most:
            return "full"
        return "high" if self.used >= self.most * NEARLY else "low"


@dataclass(frozen=True, slots=True)
class UserRow:
    name: str
    link: str
    bars: list[Bar]
    refused: int


@dataclass(frozen=True, slots=True)
class Refusals:
    day: date
    counts: list[tuple[str, int]]


# The page is that of `keys`, which knows nothing of what is counted.
page: Any = admin.site.get_model_admin(APIKey)
page.change_form_before_template = "audit/quotas.html"


def quotas_of(key: APIKey) -> dict[str, Any]:
    """For the template above."""
    now = timezone.now()
    of_user = in_force(key, Holder.USER)
    today = Usage.objects.filter(key=key, day=now.date()).values_list("user_id", "refused")
    refused = {user_id: sum(counts.values()) for user_id, counts in today}
    measures = [quota.measure for quota in of_user]
    return {
        "bars": bars(key, "", in_force(key, Holder.KEY), now),
        "of_user": [f"{most} {quota.label}" for quota, most in of_user.items()],
        "users": [
            UserRow(
                name=visible(user_id),
                link=f"{reverse('admin:audit_execution_changelist')}?"
                + urlencode({"key__id__exact": str(key.pk), "user": user_id}),
                bars=bars(key, user_id, of_user, now),
                refused=refused.get(user_id, 0),
            )
            for user_id in (busiest_users(key, measures, now=now) if of_user else ())
        ],
        "refusals": refusals(key, now),
    }


def in_force(key: APIKey, holder: Holder) -> dict[Quota, int]:
    return {
        quota: most
        for quota in QUOTAS
        if quota.holder == holder
        if (most := quota.in_force(key.credential))
    }


def bars(key: APIKey, user_id: str, quotas: Mapping[Quota, int], now: datetime) -> list[Bar]:
    counted = used(key, user_id, [quota.measure for quota in quotas], now=now)
    return [Bar(quota.label, counted[quota.measure], most) for quota, most in quotas.items()]


def refusals(key: APIKey, now: datetime) -> list[Refusals]:
    since = now.date() - timedelta(days=DAYS_SHOWN - 1)
    days = Usage.objects.filter(key=key, user_id="", day__gte=since).exclude(refused={})
    return [
        Refusals(
            usage.day,
            [(refusal_label(name), times) for name, times in sorted(usage.refused.items())],
        )
        for usage in days.order_by("-day")
    ]


def refusal_label(name: str) -> str:
    quota = QUOTA_BY_NAME[name]
    label = LABELS[quota.measure]
    return label if quota.holder == Holder.KEY else f"{label} of a user"
