"""The names of sandbox images that a key can be given; what they mean is the sandbox's to know."""

from __future__ import annotations

from django.conf import settings

# SANDBOX_IMAGE, which every key without one of its own has.
DEFAULT = "default"


def names() -> list[str]:
    return [DEFAULT, *(name for name in settings.SANDBOX_IMAGES if name != DEFAULT)]


def refusal(name: str) -> str:
    """Why a key cannot have this image; empty if it can."""
    if name in ("", *names()):
        return ""
    known = ", ".join(names())
    return f"There is no sandbox image named {name!r}; SANDBOX_IMAGES names them: {known}."
