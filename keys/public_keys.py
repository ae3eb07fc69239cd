"""The keys that tokens are verified with, from the text that an operator has."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from jwt import PyJWK, PyJWTError

# LibreChat's own default.
DEFAULT_KID = "lc-codeapi-2026-05"
RSA_BITS = 2048
PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
# RFC 7468 leaves room for text above each key.
KID = re.compile(r"^\s*kid:\s*(\S+)\s*$", re.MULTILINE)
PRIVATE = (
    "That is a private key. It belongs into LibreChat's own settings, and nowhere else; here the "
    "public one is needed (openssl pkey -in private.pem -pubout)."
)


class InvalidKeys(ValueError):
    """Says what is wrong with them, for whoever put them in."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One algorithm for each kind of key: a token has no say in how it is verified."""

    kid: str
    algorithm: str
    key: Ed25519PublicKey | RSAPublicKey

    @property
    def fingerprint(self) -> str:
        der = self.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(der).hexdigest()

    def __str__(self) -> str:
        return f"{self.kid} ({self.algorithm}, SHA-256 {self.fingerprint[:16]}…)"


@lru_cache(maxsize=256)
def parse(text: str, kid: str = DEFAULT_KID) -> tuple[PublicKey, ...]:
    """PEM, one key after another, or a JWKS; `kid` is the name of a key that has none of its own.
    Several of one name are tried one after the other."""
    keys = tuple(_of_jwks(text, kid) if text.lstrip().startswith("{") else _of_pem(text, kid))
    if not keys:
        raise InvalidKeys("No public key: neither PEM (-----BEGIN PUBLIC KEY-----) nor a JWKS.")
    return keys


def _of_pem(text: str, kid: str) -> Iterator[PublicKey]:
    # An .env file has no other way to write the end of a line.
    text = text.replace("\\n", "\n")
    end = 0
    for block in PEM.finditer(text):
        named = KID.findall(text[end : block.start()])
        end = block.end()
        yield _of_block(block, named[-1] if named else kid)


def _of_block(block: re.Match[str], kid: str) -> PublicKey:
    if "PRIVATE KEY" in block[1]:
        raise InvalidKeys(PRIVATE)
    if "CERTIFICATE" in block[1]:
        raise InvalidKeys(
            "A certificate is no public key; this prints the one in it: "
            "openssl x509 -in certificate.pem -noout -pubkey"
        )
    try:
        key = load_pem_public_key(block[0].encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidKeys(f"The PEM of the key {kid!r} cannot be read: {error}") from error
    return _usable(kid, key)


def _of_jwks(text: str, kid: str) -> Iterator[PublicKey]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidKeys(f"The JWKS is not valid JSON: {error}") from error
    if "keys" not in found:
        yield _of_jwk({"kid": kid} | found)
        return
    if not isinstance(found["keys"], list):
        raise InvalidKeys('"keys" of the JWKS is not a list.')
    for entry in found["keys"]:
        yield _of_jwk(entry)


def _of_jwk(entry: Any) -> PublicKey:
    if not isinstance(entry, dict):
        raise InvalidKeys("A key of the JWKS is not an object.")
    kid = entry.get("kid")
    if not isinstance(kid, str) or not kid:
        raise InvalidKeys('A key of the JWKS has no "kid".')
    if "d" in entry:
        raise InvalidKeys(PRIVATE)
    if entry.get("kty") not in ("OKP", "RSA"):
        raise _other_kind(kid)
    try:
        key = PyJWK(entry, "EdDSA" if entry["kty"] == "OKP" else "RS256").key
    except (PyJWTError, ValueError, TypeError) as error:
        raise InvalidKeys(f"The key {kid!r} of the JWKS cannot be read: {error}") from error
    usable = _usable(kid, key)
    if entry.get("alg", usable.algorithm) != usable.algorithm:
        raise InvalidKeys(f"The key {kid!r} is for {entry['alg']}, and only EdDSA and RS256 work.")
    return usable


def _usable(kid: str, key: Any) -> PublicKey:
    if isinstance(key, Ed25519PublicKey):
        return PublicKey(kid, "EdDSA", key)
    if not isinstance(key, RSAPublicKey):
        raise _other_kind(kid)
    if key.key_size < RSA_BITS:
        raise InvalidKeys(
            f"The RSA key {kid!r} has {key.key_size} bits; at least {RSA_BITS} are needed."
        )
    return PublicKey(kid, "RS256", key)


def _other_kind(kid: str) -> InvalidKeys:
    return InvalidKeys(f"The key {kid!r} is neither an Ed25519 nor an RSA key.")
