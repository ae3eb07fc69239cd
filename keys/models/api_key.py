from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from copy import copy
from datetime import datetime, timedelta
from typing import ClassVar, Literal

from django.db import models
from django.utils import timezone
from django.utils.functional import cached_property

from keys.limits import Limits, Number
from keys.models.credential import Credential, all_scopes
from keys.models.issuer import Issuer
from keys.secret import PREFIX_LENGTH, digest, new_secret, prefix_of, random_text
from keys.statements import ask

USE_RESOLUTION = timedelta(minutes=1)
# Neither this nor what begins like the others is a prefix that `issue` can make, so no secret ever
# finds these rows.
TRUSTED_NETWORKS = "trusted-networks"
TENANT = "jwt-"
# The server's own, for a moment, to see that runs work.
CHECK = "canary-"
UNKNOWN = "0" * 64
# Asked by each request: to read and to make an object of all columns takes longer than all else
# that is done to let somebody in. A row that is changed, by whomever, has another version.
VERSION = "SELECT xmin::text || ctid::text FROM keys_apikey WHERE prefix = %s"
WITH_VERSION = "SELECT *, xmin::text || ctid::text AS version FROM keys_apikey WHERE prefix = %s"
# How many keys a process remembers, before it begins anew.
MOST_REMEMBERED = 1000

Kind = Literal["key", "tenant", "network"]
State = Literal["usable", "expired", "revoked", "off"]


class APIKeyQuerySet(models.QuerySet["APIKey"]):
    def with_secret(self) -> APIKeyQuerySet:
        return self.exclude(digest="")

    def revocable(self) -> APIKeyQuerySet:
        return self.with_secret().filter(revoked_at=None)

    def of_callers(self) -> APIKeyQuerySet:
        """Not the server's own, which are gone again in a moment."""
        return self.exclude(prefix__startswith=CHECK)

    def usable(self) -> APIKeyQuerySet:
        return self.filter(
            models.Q(expires_at=None) | models.Q(expires_at__gt=timezone.now()), revoked_at=None
        ).exclude(issuer__enabled=False)

    def for_trusted_networks(self) -> APIKey:
        """The owner of what is done without a key where settings allow that. It has no secret."""
        key, _ = self.get_or_create(
            prefix=TRUSTED_NETWORKS,
            defaults={
                "name": "Trusted networks",
                "note": "Requests without a key from KEYS_TRUSTED_NETWORKS.",
            },
        )
        return key

    def for_tenant(self, issuer: Issuer, tenant_id: str) -> APIKey:
        """The owner of what is done with an issuer's tokens for one tenant. It has no secret."""
        key, _ = self.get_or_create(
            issuer=issuer,
            tenant_id=tenant_id,
            defaults={
                "name": issuer.tenant_name(tenant_id),
                "prefix": TENANT + random_text(PREFIX_LENGTH),
            },
        )
        key.issuer = issuer
        return key


class APIKey(Credential):
    """Who calls, and owns what the call makes: mostly a key of one LibreChat installation, else a
    tenant of an issuer of tokens, or all callers of the trusted networks; these two have no secret.

    Revoked, never deleted: the audit log needs it. A secret is not stored: its prefix finds the
    row, its digest proves it.
    """

    prefix = models.CharField(max_length=16, unique=True, editable=False)
    digest = models.CharField(max_length=64, blank=True, editable=False)
    former_digest = models.CharField(max_length=64, blank=True, editable=False)
    former_until = models.DateTimeField(
        "former secret valid until", null=True, blank=True, editable=False
    )
    issuer = models.ForeignKey(
        Issuer, models.PROTECT, null=True, blank=True, editable=False, related_name="tenants"
    )
    tenant_id = models.CharField("tenant", max_length=128, blank=True, editable=False)
    created_at = models.DateTimeField("created", default=timezone.now, editable=False)
    expires_at = models.DateTimeField(
        "expires", null=True, blank=True, help_text="Empty: it never does."
    )
    revoked_at = models.DateTimeField("revoked", null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField("last used", null=True, blank=True, editable=False)

    # Not columns. The secret only the instance knows that made it, for as long as it lives.
    secret: str = ""
    version: str

    objects = APIKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["issuer", "tenant_id"], name="one_row_per_tenant"),
        ]

    @classmethod
    def issue(
        cls,
        *,
        name: str,
        expires_at: datetime | None = None,
        owner: str = "",
        note: str = "",
        scopes: Iterable[str] | None = None,
        networks: Iterable[str] = (),
        limits: Mapping[str, Number] | None = None,
        quotas: Mapping[str, int] | None = None,
        store_code: bool = True,
        store_output: bool = True,
        image: str = "",
    ) -> tuple[APIKey, str]:
        """A new key and its secret, which nothing can show again."""
        key = cls(
            name=name,
            expires_at=expires_at,
            owner=owner,
            note=note,
            scopes=all_scopes() if scopes is None else list(scopes),
            networks=list(networks),
            store_code=store_code,
            store_output=store_output,
            image=image,
            **(limits or {}),
            **(quotas or {}),
        )
        key.set_secret()
        key.save()
        return key, key.secret

    def set_secret(self) -> None:
        """For a row that is not saved yet."""
        self.prefix = random_text(PREFIX_LENGTH)
        self.secret = new_secret(self.prefix)
        self.digest = digest(self.secret)

    def rotate(self, grace: timedelta) -> bool:
        """Another secret, `secret`, with the same prefix; the one before is valid for as long as
        `grace` says, and the one before that no more. False if somebody else changed the key."""
        secret, now = new_secret(self.prefix), timezone.now()
        new, former = digest(secret), self.digest if grace else ""
        until = now + grace if grace else None
        mine = APIKey.objects.revocable().usable().filter(pk=self.pk, digest=self.digest)
        if not mine.update(digest=new, former_digest=former, former_until=until):
            return False
        self.secret, self.digest, self.former_digest, self.former_until = secret, new, former, until
        return True

    @classmethod
    def authenticate(cls, secret: str) -> APIKey | None:
        """The usable key with this secret. An unknown prefix costs the same work as one in use."""
        prefix = prefix_of(secret)
        if not prefix:
            return None
        key = cls._with_prefix(prefix)
        presented = digest(secret)
        is_current = hmac.compare_digest(presented, key.digest if key else UNKNOWN)
        is_former = hmac.compare_digest(presented, key.former_digest if key else UNKNOWN)
        if key is None or not (is_current or (is_former and key.has_former_secret)):
            return None
        return key if key.is_usable else None

    @classmethod
    def _with_prefix(cls, prefix: str) -> APIKey | None:
        found = ask(VERSION, [prefix])
        if found is None:
            return None
        key = remembered.get(prefix)
        if key is None or key.version != found[0]:
            key = next(iter(cls.objects.raw(WITH_VERSION, [prefix])), None)
            if key is None:
                return None
            if len(remembered) >= MOST_REMEMBERED:
                remembered.clear()
            remembered[prefix] = key
        # Each request may change its own.
        return copy(key)

    @cached_property
    def limits(self) -> Limits:
        """In force when they are first asked for."""
        return Limits.of(self)

    @property
    def credential(self) -> Credential:
        """Whose limits, quotas, scopes and networks count."""
        return self.issuer or self

    @property
    def kind(self) -> Kind:
        if self.issuer_id is not None:
            return "tenant"
        return "key" if self.has_secret else "network"

    @property
    def has_secret(self) -> bool:
        return self.digest != ""

    @property
    def has_former_secret(self) -> bool:
        return self.former_until is not None and self.former_until > timezone.now()

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def is_usable(self) -> bool:
        return self.state == "usable"

    @property
    def state(self) -> State:
        if self.issuer is not None:
            return "usable" if self.issuer.enabled else "off"
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.is_expired else "usable"

    def revoke(self) -> None:
        """For good: there is no way back, and the time of the first call stays."""
        now = timezone.now()
        if APIKey.objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=now):
            self.revoked_at = now

    def record_use(self) -> None:
        """At most one write a minute, however many workers see the key."""
        now = timezone.now()
        if self.last_used_at is not None and self.last_used_at > now - USE_RESOLUTION:
            return
        stale = models.Q(last_used_at=None) | models.Q(last_used_at__lte=now - USE_RESOLUTION)
        if APIKey.objects.filter(stale, pk=self.pk).update(last_used_at=now):
            self.last_used_at = now


# By prefix, as they were read.
remembered: dict[str, APIKey] = {}
