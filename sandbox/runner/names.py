"""Which names a workspace file may have; asked at both ends."""

from __future__ import annotations

import unicodedata

MAX_BYTES = 1024
COMPONENT_BYTES = 255


def is_safe_name(name: str) -> bool:
    """A relative path below the workspace that means the same to every system it passes through."""
    if "\\" in name or any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
        return False
    parts = name.split("/")
    return (
        all(part not in ("", ".", "..") for part in parts)
        and len(name.encode()) <= MAX_BYTES
        and all(len(part.encode()) <= COMPONENT_BYTES for part in parts)
    )
