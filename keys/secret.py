"""What a key's secret looks like."""

from __future__ import annotations

import hashlib
import re
import secrets
import string

# Letters and digits only: a secret also travels in URLs and in their user information.
ALPHABET = string.ascii_letters + string.digits
PREFIX_LENGTH = 10
RANDOM_LENGTH = 34  # 202 bits
SECRET = re.compile(rf"lci_([A-Za-z0-9]{{{PREFIX_LENGTH}}})_[A-Za-z0-9]{{{RANDOM_LENGTH}}}")


def random_text(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def new_secret(prefix: str) -> str:
    return f"lci_{prefix}_{random_text(RANDOM_LENGTH)}"


def digest(secret: str) -> str:
    """A fast hash is right here: nobody can search 202 random bits, however fast each guess is.
    Slow hashes are for what people choose, and would cost each request a tenth of a second."""
    return hashlib.sha256(secret.encode()).hexdigest()


def prefix_of(secret: str) -> str:
    """Empty where it cannot be a secret of ours."""
    match = SECRET.fullmatch(secret)
    return match[1] if match else ""
