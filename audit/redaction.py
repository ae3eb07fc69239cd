"""Secrets are taken out of what is stored of a run; LibreChat's answer is never touched.

The expressions run in Google's RE2, whose time grows with the length of the text and nothing else:
neither a program nor an operator's expression can make it go astray, as Python's own would.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import re2
from django.conf import settings

# Where an expression has a group, what the group matched is the secret, else all of it.
BUILT_IN = {
    # All of a block, or what there is of one that was cut.
    "private key": r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?s:.*?)-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|[A-Za-z0-9+/=\s\\:,-]*\z)",
    "password in a URL": r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@\"']*:([^\s/@\"']+)@",
    "authorization": r"(?i:authorization)[\"']?\s*[:=]\s*[\"']?[A-Za-z]+\s+"
    r"([A-Za-z0-9._~+/-]{8,}=*)",
    "bearer token": r"(?i:\bbearer)\s+([A-Za-z0-9._~+/-]{16,}=*)",
    "JSON web token": r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    "interpreter key": r"\blci_[A-Za-z0-9]{10}_[A-Za-z0-9]{34}",
    "AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})",
    "GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "Google key": r"\bAIza[0-9A-Za-z_-]{35}",
    "Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}",
    "Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    "Stripe key": r"\b[rs]k_(?:live|test)_[0-9A-Za-z]{10,}",
    # OpenAI's, Anthropic's and those of others that took it over.
    "model key": r"\bsk-[A-Za-z0-9_-]{20,}",
    "assigned secret": r"(?i:passwd|password|secret|api[_-]?key|(?:access|auth|refresh)[_-]?token)"
    r"[\"']?\s*[:=]\s*[\"']([^\s\"']{6,})[\"']",
}
# Each match costs as much as some kilobytes without any. A text that has more secrets than this
# is one, and its rest is left out.
MAX_MATCHES = 1000
# Of a word that was cut: longer ones are data rather than a secret.
MAX_CUT = 512
CUT = "[redacted: cut off here]"


class InvalidPatterns(ValueError):
    """What `AUDIT_REDACT_PATTERNS` says cannot be used."""


@dataclass(frozen=True, slots=True)
class Patterns:
    """Compiled: one that finds out whether there is anything to do, and each with its name."""

    any: Any
    each: tuple[tuple[bytes, Any], ...]


def check() -> None:
    """Whether the settings can be used; raises `InvalidPatterns`."""
    _patterns()


def redact(text: str, *, cut: bool = False) -> str:
    """The text without the secrets that are found in it. Where it was `cut`, its last word may be
    the beginning of one that nothing would recognise any more, and goes as well."""
    patterns = _patterns()
    if patterns is None:
        return text
    data = text.encode(errors="replace")
    whole = _without_last_word(data) if cut else data
    mark = CUT if len(whole) < len(data) else ""
    data = whole
    if patterns.any.search(data):
        for name, pattern in patterns.each:
            data = _replace(pattern, b"[redacted: %b]" % name, data)
    return data.decode(errors="replace") + mark


def _without_last_word(data: bytes) -> bytes:
    words = data[-MAX_CUT:].split()
    if not words or data[-1:].isspace():
        return data
    return data[: -len(words[-1])]


def _replace(pattern: Any, instead: bytes, data: bytes) -> bytes:
    kept: list[bytes] = []
    end = 0
    for count, match in enumerate(pattern.finditer(data)):
        if count == MAX_MATCHES:
            return b"".join((*kept, b"\n[redacted: the rest, which has too many secrets]\n"))
        start, stop = match.span(1 if pattern.groups and match.start(1) >= 0 else 0)
        if start == stop:
            continue
        kept += (data[end:start], instead)
        end = stop
    return b"".join((*kept, data[end:]))


def _patterns() -> Patterns | None:
    return _compiled(settings.AUDIT_REDACT, settings.AUDIT_REDACT_PATTERNS)


@lru_cache(maxsize=4)
def _compiled(built_in: bool, own: str) -> Patterns | None:
    sources = (BUILT_IN if built_in else {}) | _parsed(own)
    if not sources:
        return None
    each = tuple((name.encode(), _compile(name, source)) for name, source in sources.items())
    return Patterns(_compile("all of them", "|".join(f"(?:{s})" for s in sources.values())), each)


def _parsed(own: str) -> dict[str, str]:
    if not own.strip():
        return {}
    try:
        parsed = json.loads(own)
    except ValueError as error:
        raise InvalidPatterns(f"it is not JSON ({error})") from error
    if not isinstance(parsed, dict) or not all(
        isinstance(source, str) and name.isprintable() for name, source in parsed.items()
    ):
        raise InvalidPatterns("it is not an object of names and expressions")
    return parsed


def _compile(name: str, source: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        pattern = re2.compile(source, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise InvalidPatterns(f"RE2 cannot use {name!r}: {text}") from error
    if pattern.search(b""):
        raise InvalidPatterns(f"{name!r} matches where there is nothing")
    return pattern
