from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from keys.models import APIKey, Credential
from keys.quotas import QUOTAS
from keys.visible import visible

HEADINGS = (
    "BEGINS", "KIND", "STATE", "NAME", "OWNER", "SCOPES", "NETWORKS", "QUOTAS", "EXPIRES", "USED",
)  # fmt: skip


def quotas(credential: Credential) -> str:
    """Those that are not the server's."""
    own = {quota.name: getattr(credential, quota.name) for quota in QUOTAS}
    return ",".join(f"{name}={value}" for name, value in own.items() if value is not None) or "-"


def row(key: APIKey) -> tuple[str, ...]:
    credential = key.credential
    return (
        f"lci_{key.prefix}" if key.has_secret else "-",
        key.kind,
        key.state,
        str(key),
        visible(credential.owner) or "-",
        ",".join(credential.scopes),
        ",".join(credential.networks) or "all",
        quotas(credential),
        f"{key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else "never",
        f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never",
    )


class Command(BaseCommand):
    help = "List API keys, the newest first, and the tenants of token issuers. Times are UTC."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--all", action="store_true", help="also those that are revoked, expired or off"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        keys = APIKey.objects.select_related("issuer")
        rows = [HEADINGS, *(row(key) for key in keys if options["all"] or key.is_usable)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for values in rows:
            cells = (value.ljust(width) for value, width in zip(values, widths, strict=True))
            self.stdout.write("  ".join(cells).rstrip())
