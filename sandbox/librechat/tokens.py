"""Tokens as LibreChat signs them."""

from __future__ import annotations

import hashlib
import json
import time
import uuid

import jwt

from sandbox.librechat.dotenv import PrivateKey

TENANT = "legacy"
USER = "65f0c0ffee0123456789abcd"
ROLE = "USER"
SOURCE = "librechat_jwt"


def sign(
    key: PrivateKey, *, algorithm: str, kid: str, issuer: str, audience: str, ttl_seconds: float
) -> str:
    """For a user who is nobody's, in the tenant of a LibreChat that has only one."""
    now = int(time.time())
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": USER,
        "iat": now,
        "nbf": now,
        "exp": now + int(ttl_seconds),
        "jti": str(uuid.uuid4()),
        "tenant_id": TENANT,
        "role": ROLE,
        "principal_source": SOURCE,
        "auth_context_hash": _context_hash(),
    }
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid})


def _context_hash() -> str:
    """The order of these counts."""
    context = {
        "chc_user_id": "",
        "org_id": "",
        "principal_source": SOURCE,
        "role": ROLE,
        "service_id": "",
        "sub": USER,
        "tenant_id": TENANT,
    }
    return hashlib.sha256(json.dumps(context, separators=(",", ":")).encode()).hexdigest()
