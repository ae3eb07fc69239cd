from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from keys import environment, rows, tokens
from keys.models.credential import NAME_LENGTH, Credential
from keys.public_keys import DEFAULT_KID, InvalidKeys, PublicKey, parse
from keys.statements import ask_for_all
from keys.tokens import Token, TokenRefused

if TYPE_CHECKING:
    from keys.models.api_key import APIKey

logger = logging.getLogger(__name__)

# Asked by each request with a token, instead of the one for a key: who may have signed it, and the
# tenant's row if there is one. Nothing of it is remembered, so what was turned off is off.
CANDIDATES = """
    SELECT {issuer}, {tenant} FROM keys_issuer AS issuer
    LEFT JOIN keys_apikey AS tenant
        ON tenant.issuer_id = issuer.id AND tenant.tenant_id = %(tenant_id)s
    WHERE issuer.iss = %(iss)s OR issuer.from_environment
    ORDER BY issuer.id
"""


def validate_public_keys(text: str) -> None:
    try:
        parse(text)
    except InvalidKeys as error:
        raise ValidationError(str(error)) from error


class IssuerQuerySet(models.QuerySet["Issuer"]):
    def for_environment(self) -> Issuer:
        """The row of the CODEAPI_JWT_ settings, made when it is first needed."""
        issuer, _ = self.get_or_create(from_environment=True, defaults=ENVIRONMENT)
        return issuer


class Issuer(Credential):
    """Who signs tokens: a LibreChat with CODEAPI_JWT_ENABLED. Each of its tenants has a row among
    the API keys, which owns sessions, files and executions; all of them have the issuer's limits,
    and each by itself its quotas.
    """

    iss = models.CharField(
        "issuer (iss)",
        max_length=128,
        default="librechat",
        help_text="LibreChat's CODEAPI_JWT_ISSUER.",
    )
    aud = models.CharField(
        "audience (aud)",
        max_length=128,
        default="codeapi",
        help_text="LibreChat's CODEAPI_JWT_AUDIENCE.",
    )
    public_keys = models.TextField(
        validators=[validate_public_keys],
        help_text="PEM or a JWKS, Ed25519 or RSA. Several are all valid: to change LibreChat's "
        "key, add the new one first. Above each PEM a line “kid: name” says LibreChat's "
        f"CODEAPI_JWT_KID; without it, that is {DEFAULT_KID}.",
    )
    enabled = models.BooleanField("on", default=True, help_text="Counts from the next call on.")
    from_environment = models.BooleanField(default=False, editable=False)
    created_at = models.DateTimeField("created", default=timezone.now, editable=False)

    objects = IssuerQuerySet.as_manager()

    class Meta:
        verbose_name = "token issuer"
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["from_environment"],
                condition=models.Q(from_environment=True),
                name="one_issuer_from_environment",
            ),
        ]

    @property
    def issuer(self) -> str:
        return settings.CODEAPI_JWT_ISSUER if self.from_environment else self.iss

    @property
    def audience(self) -> str:
        return settings.CODEAPI_JWT_AUDIENCE if self.from_environment else self.aud

    def keys(self) -> tuple[PublicKey, ...]:
        if self.from_environment:
            return environment.public_keys()
        return parse(self.public_keys)

    def rename_tenants(self) -> None:
        """Their rows are listed where nothing else tells whose they are."""
        for tenant in self.tenants.all():
            self.tenants.filter(pk=tenant.pk).update(name=self.tenant_name(tenant.tenant_id))

    def tenant_name(self, tenant_id: str) -> str:
        return f"{self.name}: tenant {tenant_id}"[:NAME_LENGTH]

    @classmethod
    def authenticate(cls, text: str) -> tuple[APIKey, str]:
        """The tenant whose token this is, and the user that it proves."""
        token = tokens.read(text)
        refused = TokenRefused(f"no issuer is {token.issuer!r}", token.kid)
        for issuer, tenant in _candidates(token):
            try:
                return issuer.accept(token, tenant), token.user_id
            except TokenRefused as reason:
                refused = reason
        raise refused

    def accept(self, token: Token, tenant: APIKey | None) -> APIKey:
        try:
            keys = self.keys()
        except InvalidKeys as error:
            logger.error("the keys of the issuer %s: %s", self, error)
            raise TokenRefused("the keys of its issuer cannot be read", token.kid) from error
        tokens.verify(token, keys, audience=self.audience)
        issuer = self if self.pk else Issuer.objects.for_environment()
        if not issuer.enabled:
            raise TokenRefused(f"its issuer {issuer.name!r} is turned off", token.kid)
        return tenant or issuer.tenants.for_tenant(issuer, token.tenant_id)


ENVIRONMENT: dict[str, Any] = {
    "name": "LibreChat",
    "iss": "",
    "aud": "",
    "public_keys": "",
    "note": "The CODEAPI_JWT_ settings of this server.",
}


def _candidates(token: Token) -> Iterator[tuple[Issuer, APIKey | None]]:
    """Two installations may well have the same name, then their keys decide."""
    named = {"iss": token.issuer, "tenant_id": token.tenant_id}
    found = ask_for_all(_candidates_statement(), named)
    width = len(Issuer._meta.concrete_fields)
    issuers = []
    for row in found:
        issuer, tenant = rows.instance(Issuer, row[:width]), None
        if row[width] is not None:
            tenant = rows.instance(_key_model(), row[width:])
            tenant.issuer = issuer
        issuers.append((issuer, tenant))
    if environment.is_configured():
        if not any(issuer.from_environment for issuer, _ in issuers):
            issuers.append((Issuer(from_environment=True, **ENVIRONMENT), None))
    else:
        issuers = [entry for entry in issuers if not entry[0].from_environment]
    yield from (entry for entry in issuers if entry[0].issuer == token.issuer)


@cache
def _candidates_statement() -> str:
    return CANDIDATES.format(
        issuer=rows.selected(Issuer, "issuer"), tenant=rows.selected(_key_model(), "tenant")
    )


def _key_model() -> type[APIKey]:
    """Which refers to issuers, so that it cannot be imported here."""
    model: type[APIKey] = apps.get_model("keys", "APIKey")
    return model
