"""Tokens as LibreChat mints them."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

ALICE = "65f0c0ffee0123456789abcd"
BOB = "65f0c0ffee0123456789ab0b"
KID = "lc-codeapi-2026-05"
# What the hash of the context is made of, in this order; what is absent counts as empty.
CONTEXT = (
    "chc_user_id",
    "org_id",
    "principal_source",
    "role",
    "service_id",
    "sub",
    "tenant_id",
)


@dataclass
class Signer:
    """A LibreChat with a private key of its own."""

    private: Ed25519PrivateKey | RSAPrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    kid: str = KID

    @classmethod
    def rsa(cls, bits: int = 2048, kid: str = KID) -> Signer:
        return cls(generate_private_key(65537, bits), kid)

    @property
    def algorithm(self) -> str:
        return "EdDSA" if isinstance(self.private, Ed25519PrivateKey) else "RS256"

    @property
    def pem(self) -> str:
        return (
            self.private.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
        )

    @property
    def private_pem(self) -> str:
        return self.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()

    @property
    def jwk(self) -> dict[str, Any]:
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        made = algorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**made, "kid": self.kid, "use": "sig", "alg": self.algorithm}

    def mint(
        self, user: str = ALICE, *, header: dict[str, Any] | None = None, **changes: Any
    ) -> str:
        """A claim that is None is left out."""
        return jwt.encode(
            claims(user, **changes),
            self.private,
            algorithm=self.algorithm,
            headers={"kid": self.kid, "typ": "JWT"} | (header or {}),
        )


def jwks(*signers: Signer) -> str:
    return json.dumps({"keys": [signer.jwk for signer in signers]})


def claims(user: str = ALICE, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    made = {
        "iss": "librechat",
        "aud": "codeapi",
        "sub": user,
        "iat": now,
        "nbf": now,
        "exp": now + 300,
        "jti": str(uuid.uuid4()),
        "tenant_id": "legacy",
        "role": "USER",
        "principal_source": "librechat_jwt",
    } | changes
    made = {name: value for name, value in made.items() if value is not None}
    context = {name: made.get(name, "") for name in CONTEXT}
    compact = json.dumps(context, separators=(",", ":"), ensure_ascii=False, default=str)
    digest = hashlib.sha256(compact.encode(errors="replace")).hexdigest()
    return {**made, "auth_context_hash": digest}
