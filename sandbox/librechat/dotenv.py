"""A LibreChat's `.env`, as far as it is about the code interpreter."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from dotenv import dotenv_values
from jwt import PyJWK

from keys.public_keys import DEFAULT_KID

BASE_URL = "LIBRECHAT_CODE_BASEURL"
API_KEY = "LIBRECHAT_CODE_API_KEY"
PROVIDERS = ("librechat-jwt", "both")
PRIVATE_KEYS = (
    "CODEAPI_JWT_PRIVATE_KEY",
    "CODEAPI_JWT_PRIVATE_KEY_BASE64",
    "CODEAPI_JWT_PRIVATE_JWK_JSON",
)
MAX_TTL_SECONDS = 300

PrivateKey = Ed25519PrivateKey | RSAPrivateKey


class InvalidPrivateKey(ValueError):
    """Says what is wrong with it, and nothing of what is in it."""


@dataclass(frozen=True, slots=True)
class DotEnv:
    values: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> DotEnv:
        # LibreChat's own reader replaces nothing either.
        found = dotenv_values(path, interpolate=False)
        return cls({name: (value or "").strip() for name, value in found.items()})

    def get(self, name: str, default: str = "") -> str:
        return self.values.get(name) or default

    @property
    def url(self) -> SplitResult:
        return urlsplit(self.get(BASE_URL))

    @property
    def key_in_url(self) -> str:
        """As the password, or below /k/."""
        if self.url.password:
            return unquote(self.url.password)
        parts = self.url.path.strip("/").split("/")
        return parts[1] if len(parts) > 1 and parts[0] == "k" else ""

    @property
    def signs(self) -> bool:
        is_on = self.get("CODEAPI_JWT_ENABLED").lower() == "true"
        return is_on or self.get("CODEAPI_AUTH_PROVIDER") in PROVIDERS

    @property
    def algorithm(self) -> str:
        return self.get("CODEAPI_JWT_ALGORITHM", "EdDSA")

    @property
    def kid(self) -> str:
        return self.get("CODEAPI_JWT_KID") or self.get("CODEAPI_JWT_KEY_ID", DEFAULT_KID)

    @property
    def issuer(self) -> str:
        return self.get("CODEAPI_JWT_ISSUER", "librechat")

    @property
    def audience(self) -> str:
        return self.get("CODEAPI_JWT_AUDIENCE", "codeapi")

    @property
    def ttl_seconds(self) -> float:
        return min(float(self.get("CODEAPI_JWT_TTL_SECONDS", "300")), MAX_TTL_SECONDS)

    def private_key(self) -> PrivateKey:
        """Raises `InvalidPrivateKey`, also when there is none."""
        text, encoded, jwk = (self.get(name) for name in PRIVATE_KEYS)
        if jwk:
            return _of_jwk(jwk)
        if encoded:
            try:
                text = base64.b64decode(encoded, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError) as error:
                raise InvalidPrivateKey(f"{PRIVATE_KEYS[1]} is not base64 of a PEM") from error
        if not text:
            raise InvalidPrivateKey(f"none of {', '.join(PRIVATE_KEYS)} is there")
        try:
            return _usable(load_pem_private_key(text.replace("\\n", "\n").encode(), None))
        except (ValueError, TypeError) as error:
            raise InvalidPrivateKey(
                "it is no PEM of a private key without a password; its lines' ends are written \\n"
            ) from error


def _of_jwk(text: str) -> PrivateKey:
    try:
        found: dict[str, Any] = json.loads(text)
        return _usable(PyJWK(found, "EdDSA" if found.get("kty") == "OKP" else "RS256").key)
    except (ValueError, TypeError, AttributeError, jwt.PyJWTError) as error:
        raise InvalidPrivateKey(f"{PRIVATE_KEYS[2]} is no JWK of a private key") from error


def _usable(key: Any) -> PrivateKey:
    if isinstance(key, Ed25519PrivateKey | RSAPrivateKey):
        return key
    raise InvalidPrivateKey("it is neither an Ed25519 nor an RSA key")
