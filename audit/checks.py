"""Settings of the audit log that cannot work are refused at start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, register

from audit import redaction


@register()
def redaction_patterns(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    try:
        redaction.check()
    except redaction.InvalidPatterns as error:
        return [
            Error(
                f"AUDIT_REDACT_PATTERNS: {error}.",
                hint='JSON such as {"customer number": "C-[0-9]{8}"}, with expressions in RE2\'s '
                "syntax: https://github.com/google/re2/wiki/Syntax",
                id="audit.E001",
            )
        ]
    return []
