"""The images that programs can run in, by the names that keys know them by."""

from __future__ import annotations

from django.conf import settings

from keys.images import DEFAULT, names
from keys.models import APIKey
from sandbox.errors import ImageMissing

__all__ = ["DEFAULT", "names", "of_key", "tag"]


def tag(name: str = "") -> str:
    """What the engine knows the image by."""
    if name in ("", DEFAULT):
        default: str = settings.SANDBOX_IMAGE
        return default
    if name not in settings.SANDBOX_IMAGES:
        raise ImageMissing(
            f"There is no sandbox image named {name!r}: put it into SANDBOX_IMAGES, or give the "
            "key another one"
        )
    further: str = settings.SANDBOX_IMAGES[name]
    return further


def of_key(key: APIKey | None) -> str:
    """The name of the image that a key's programs run in."""
    return (key.credential.image if key else "") or DEFAULT
