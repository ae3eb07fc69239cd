"""The 21-character ids that LibreChat checks before it lets anybody download."""

import re
import secrets
import string

ALPHABET = string.ascii_letters + string.digits + "_-"
LENGTH = 21
PATTERN = re.compile(r"[A-Za-z0-9_-]{21}")


def new_id() -> str:
    """A nanoid: 126 random bits from the operating system."""
    return "".join(ALPHABET[byte & 63] for byte in secrets.token_bytes(LENGTH))


def is_id(text: str) -> bool:
    return PATTERN.fullmatch(text) is not None
