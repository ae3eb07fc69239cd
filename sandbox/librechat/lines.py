"""The lines of LibreChat's `.env` for this server, for one version."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from sandbox.librechat.dotenv import API_KEY, BASE_URL, PRIVATE_KEYS
from sandbox.librechat.releases import Release

PLACE = "http://<this host>:8000"
KEY = "<key>"


@dataclass(frozen=True, slots=True)
class Pair:
    """What LibreChat signs with, and what this server checks that with."""

    private: Ed25519PrivateKey

    @classmethod
    def new(cls) -> Pair:
        return cls(Ed25519PrivateKey.generate())

    @property
    def private_pem(self) -> str:
        return self.private.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ).decode()

    @property
    def public_pem(self) -> str:
        public = self.private.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def base_url(release: Release, address: str, key: str, *, signed: bool = False) -> str:
    """As it has to be in LibreChat's settings: from 0.8.6 on the key is in it, unless calls are
    signed."""
    parts = urlsplit(address)
    path = parts.path.rstrip("/") or "/run/exec"
    netloc = parts.netloc
    if key and not release.sends_key and not signed and "@" not in netloc:
        netloc = f"any:{key}@{netloc}"
    return f"{parts.scheme}://{netloc}{path}"


def lines(
    release: Release, address: str = "", key: str = "", pair: Pair | None = None
) -> Iterator[str]:
    signed = pair is not None and release.signs
    yield f"# LibreChat {release}: " + "; ".join(release.changes)
    yield f"{BASE_URL}={base_url(release, address or PLACE, key or KEY, signed=signed)}"
    if release.sends_key:
        yield f"{API_KEY}={key or KEY}"
    if pair and signed:
        yield "CODEAPI_JWT_ENABLED=true"
        # An .env file has no other way to write the end of a line.
        escaped = pair.private_pem.replace("\n", "\\n")
        yield f'{PRIVATE_KEYS[0]}="{escaped}"'
