"""What a key, or an issuer with all its tenants, was used for: on its own page."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from audit.admin.use import Tile, Use, written
from keys.models import APIKey, Issuer

for model in (APIKey, Issuer):
    # The pages are those of `keys`, which knows nothing of executions.
    page: Any = admin.site.get_model_admin(model)
    page.change_form_outer_after_template = "audit/use_of_key.html"


def use_of(request: HttpRequest, credential: APIKey | Issuer) -> dict[str, Any]:
    """For the template above; empty for whoever may not see executions."""
    if not request.user.has_perm("audit.view_execution"):
        return {}
    if isinstance(credential, Issuer):
        keys = tuple(credential.tenants.values_list("pk", flat=True))
        owner = {"key__issuer__id__exact": credential.pk}
        last_used_at = max(
            filter(None, credential.tenants.values_list("last_used_at", flat=True)), default=None
        )
    else:
        keys, owner = (credential.pk,), {"key__id__exact": credential.pk}
        last_used_at = credential.last_used_at
    use = Use(request.GET.get("period"), keys=keys, owner=owner, default="month")
    last = Tile("Last used", "Never")
    if last_used_at:
        last = Tile("Last used", written(last_used_at, "j M"), written(last_used_at, "Y, H:i"))
    return {
        "use": use,
        "tiles": [*use.outcome_tiles(), *use.duration_tiles(), last],
        "charts": [use.outcomes(), use.latencies()] if use.total else [],
    }
