from typing import Any

from django import template

register = template.Library()


@register.simple_tag(takes_context=True)
def use_of_key(context: dict[str, Any]) -> dict[str, Any]:
    # Not before: the admin looks for tags while it is being loaded itself.
    from audit.admin.use_of_keys import use_of

    return use_of(context["request"], context["original"])
