"""Settings of the audit log that cannot work are refused at start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from audit import redaction

DAYS = ("AUDIT_KEEP_TEXTS_DAYS", "AUDIT_KEEP_EXECUTIONS_DAYS", "AUDIT_KEEP_SESSIONS_DAYS")
# A century: what a date can be subtracted from.
MAX_DAYS = 36_525


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


@register()
def days(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    return [
        Error(
            f"{name} must be a number of days, or 0 for ever.",
            hint=f"It is {value}.",
            id="audit.E002",
        )
        for name in DAYS
        # Written so that it holds for what is not a number, too.
        if not 0 <= (value := getattr(settings, name)) <= MAX_DAYS
    ]
