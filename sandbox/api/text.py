"""Text from clients, made fit for Postgres and JSON."""

from __future__ import annotations

import re

LONE_SURROGATES = re.compile("[\ud800-\udfff]")
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
LABEL_LENGTH = 128


def without_surrogates(text: str) -> str:
    """JSON can escape half of a character, which no encoding can carry."""
    return LONE_SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)


def label(value: object) -> str:
    """An id that somebody else made: kept as it is, if it can be. It never fails a request."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return ""
    return CONTROL_CHARACTERS.sub("", without_surrogates(str(value)))[:LABEL_LENGTH]


def header_text(value: str) -> str:
    """WSGI hands over each byte of a header as one character."""
    return value.encode("latin-1", errors="replace").decode(errors="replace")
