from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Literal

from django.db import models
from django.utils import timezone

from keys.limits import Number
from keys.visible import visible

# Letters and digits only: a secret also travels in URLs and in their user information.
ALPHABET = string.ascii_letters + string.digits
PREFIX_LENGTH = 10
RANDOM_LENGTH = 34  # 202 bits
SECRET = re.compile(rf"lci_([A-Za-z0-9]{{{PREFIX_LENGTH}}})_[A-Za-z0-9]{{{RANDOM_LENGTH}}}")
USE_RESOLUTION = timedelta(minutes=1)
# Not a prefix that `issue` can make, so no secret ever finds this row.
TRUSTED_NETWORKS = "trusted-networks"
UNKNOWN = "0" * 64
# Asked by each request, and written out because to compose it takes longer than to answer it.
BY_PREFIX = "SELECT * FROM keys_apikey WHERE prefix = %s"


def random_text(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def digest(secret: str) -> str:
    """A fast hash is right here: nobody can search 202 random bits, however fast each guess is.
    Slow hashes are for what people choose, and would cost each request a tenth of a second."""
    return hashlib.sha256(secret.encode()).hexdigest()


def prefix_of(secret: str) -> str:
    """Empty where it cannot be a secret of ours."""
    match = SECRET.fullmatch(secret)
    return match[1] if match else ""


class APIKeyQuerySet(models.QuerySet["APIKey"]):
    def with_secret(self) -> APIKeyQuerySet:
        return self.exclude(digest="")

    def revocable(self) -> APIKeyQuerySet:
        return self.with_secret().filter(revoked_at=None)

    def usable(self) -> APIKeyQuerySet:
        return self.filter(
            models.Q(expires_at=None) | models.Q(expires_at__gt=timezone.now()), revoked_at=None
        )

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


class KeyLimits(models.Model):
    """What a key's programs get less of than others, see `keys.limits`. Empty: the server's."""

    cpus = models.FloatField("CPUs", null=True, blank=True)
    memory_mb = models.PositiveIntegerField("memory (MB)", null=True, blank=True)
    pids = models.PositiveIntegerField("processes", null=True, blank=True)
    workspace_mb = models.PositiveIntegerField("/mnt/data (MB)", null=True, blank=True)
    tmp_mb = models.PositiveIntegerField("/tmp (MB)", null=True, blank=True)  # noqa: S108
    shm_mb = models.PositiveIntegerField("/dev/shm (MB)", null=True, blank=True)  # noqa: S108
    inodes = models.PositiveIntegerField("files in each", null=True, blank=True)
    max_run_seconds = models.FloatField("time (s)", null=True, blank=True)
    cpu_seconds = models.PositiveIntegerField("CPU time (s)", null=True, blank=True)
    open_files = models.PositiveIntegerField("open files", null=True, blank=True)
    write_mb = models.PositiveIntegerField("file size (MB)", null=True, blank=True)
    output_bytes = models.PositiveBigIntegerField("output (bytes)", null=True, blank=True)
    file_mb = models.PositiveIntegerField("size of a kept file (MB)", null=True, blank=True)
    files_mb = models.PositiveIntegerField("size of all kept files (MB)", null=True, blank=True)
    max_session_files = models.PositiveIntegerField("kept files", null=True, blank=True)
    max_output_files = models.PositiveIntegerField("listed files", null=True, blank=True)

    class Meta:
        abstract = True


class APIKey(KeyLimits):
    """A credential of one LibreChat installation. Revoked, never deleted: the audit log needs it.

    The secret is not stored. Its prefix finds the row, its digest proves it.
    """

    name = models.CharField(max_length=100, help_text="Whose key it is.")
    prefix = models.CharField(max_length=16, unique=True, editable=False)
    digest = models.CharField(max_length=64, blank=True, editable=False)
    created_at = models.DateTimeField("created", default=timezone.now, editable=False)
    expires_at = models.DateTimeField(
        "expires", null=True, blank=True, help_text="Empty: it never does."
    )
    revoked_at = models.DateTimeField("revoked", null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField("last used", null=True, blank=True, editable=False)
    note = models.TextField(blank=True)

    # Not a column: only the instance that made it knows it, for as long as it lives.
    secret: str = ""

    objects = APIKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return visible(self.name)

    @classmethod
    def issue(
        cls,
        *,
        name: str,
        expires_at: datetime | None = None,
        note: str = "",
        limits: Mapping[str, Number] | None = None,
    ) -> tuple[APIKey, str]:
        """A new key and its secret, which nothing can show again."""
        key = cls(name=name, expires_at=expires_at, note=note, **(limits or {}))
        key.set_secret()
        key.save()
        return key, key.secret

    def set_secret(self) -> None:
        """For a row that is not saved yet."""
        self.prefix = random_text(PREFIX_LENGTH)
        self.secret = f"lci_{self.prefix}_{random_text(RANDOM_LENGTH)}"
        self.digest = digest(self.secret)

    @classmethod
    def authenticate(cls, secret: str) -> APIKey | None:
        """The usable key with this secret. An unknown prefix costs the same work as a known one."""
        prefix = prefix_of(secret)
        if not prefix:
            return None
        key = next(iter(cls.objects.raw(BY_PREFIX, [prefix])), None)
        if not hmac.compare_digest(digest(secret), key.digest if key else UNKNOWN):
            return None
        return key if key and key.is_usable else None

    @property
    def has_secret(self) -> bool:
        return self.digest != ""

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def is_usable(self) -> bool:
        return self.state == "usable"

    @property
    def state(self) -> Literal["usable", "expired", "revoked"]:
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


class Failure(models.Model):
    """How often a credential was wrong in the current window of time; see `keys.throttling`."""

    bucket = models.CharField(primary_key=True, max_length=32)
    failures = models.IntegerField()
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.bucket
