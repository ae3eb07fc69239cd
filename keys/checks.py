from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register()
def trusted_networks(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    return [
        Error(
            f"KEYS_TRUSTED_NETWORKS: {text!r} is not a network ({reason}).",
            hint='Use CIDR notation without host bits, for example "10.0.3.0/24" or "::1/128".',
            id="keys.E001",
        )
        for text in settings.KEYS_TRUSTED_NETWORKS
        if (reason := why_not_a_network(text)) is not None
    ]


def why_not_a_network(text: str) -> str | None:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        return str(error)
    return None
