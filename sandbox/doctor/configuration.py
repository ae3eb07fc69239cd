"""Django's own checks and ours, those for a deployment included."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.core import checks

from sandbox.findings import Finding, fail, ok, warn

# Warnings of Django that are none here: with DEBUG an error shows settings and code to whoever
# caused it, and with a short SECRET_KEY logins of the admin can be forged.
GRAVE = {"security.W018", "security.W009"}
# Where no proxy serves HTTPS; one sentence says it better.
OF_HTTPS = {"security.W012", "security.W016"}


def check() -> Iterator[Finding]:
    silenced = set(settings.SILENCED_SYSTEM_CHECKS) | OF_HTTPS
    found = [
        message
        for message in checks.run_checks(include_deployment_checks=True)
        if message.id not in silenced
    ]
    for message in found:
        name = f"settings.{message.id}"
        is_grave = message.level >= checks.ERROR or message.id in GRAVE
        yield (fail if is_grave else warn)(name, message.msg, message.hint or "")
    if not found:
        yield ok("settings", "Django's checks and ours find nothing")
    if not settings.HTTPS:
        yield warn(
            "settings.https",
            "keys, files and the admin's logins travel as they are",
            "Put a proxy that serves HTTPS in front and set HTTPS=true, unless nobody else is on "
            "the network between LibreChat and this server.",
        )
