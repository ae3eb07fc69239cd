from typing import Any

from django import template

register = template.Library()


@register.simple_tag(takes_context=True)
def quotas_of_key(context: dict[str, Any]) -> dict[str, Any]:
    # Not before: the admin looks for tags while it is being loaded itself.
    from audit.admin.quotas_of_keys import quotas_of

    if not context["request"].user.has_perm("audit.view_execution"):
        # Users are named by what they ran.
        return {}
    return quotas_of(context["original"])
