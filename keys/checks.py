from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from keys import environment
from keys.networks import HINT, why_not_a_network
from keys.public_keys import InvalidKeys
from keys.quotas import QUOTAS

ALGORITHMS = ("EdDSA", "RS256")


@register()
def trusted_networks(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    return [
        Error(
            f"KEYS_TRUSTED_NETWORKS: {text!r} is not a network ({reason}).",
            hint=HINT,
            id="keys.E001",
        )
        for text in settings.KEYS_TRUSTED_NETWORKS
        if (reason := why_not_a_network(text)) is not None
    ]


@register()
def quotas(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    return [
        Error(
            f"{quota.setting} cannot be {quota.of_server}.",
            hint=f"It is a number of {quota.label}. {refusal}",
            id="keys.E005",
        )
        for quota in QUOTAS
        if (refusal := quota.refusal(quota.of_server))
    ]


@register()
def token_keys(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Found when the server starts, not by the first user."""
    if not environment.is_configured():
        return []
    try:
        keys = environment.public_keys()
    except InvalidKeys as error:
        return [Error(str(error), hint="See “LibreChat's settings” in the README.", id="keys.E002")]
    if not keys:
        return [
            Error(
                "CODEAPI_JWT_PUBLIC_KEYS_DIR: no key is there.",
                hint="Put public keys there, as <kid>.pem, or leave it empty.",
                id="keys.E002",
            )
        ]
    return []


@register()
def token_rules(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = [
        Error(
            f"CODEAPI_JWT_ALLOWED_ALGS: {name!r} is not supported.",
            hint="EdDSA and RS256 are. What signs with a shared secret (HS256) is not: whoever can "
            "check such a token can make one.",
            id="keys.E003",
        )
        for name in settings.CODEAPI_JWT_ALLOWED_ALGS
        if name not in ALGORITHMS
    ]
    if settings.CODEAPI_JWT_CLOCK_SKEW_SECONDS < 0:
        found.append(Error("CODEAPI_JWT_CLOCK_SKEW_SECONDS is below 0.", id="keys.E004"))
    if settings.CODEAPI_JWT_MAX_TTL_SECONDS <= 0:
        found.append(
            Error(
                "CODEAPI_JWT_MAX_TTL_SECONDS must be above 0.",
                hint="LibreChat's tokens live for 300 seconds.",
                id="keys.E004",
            )
        )
    return found
