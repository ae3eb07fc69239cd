"""LibreChat's signed tokens: what one says, and whether that is true."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jwt
from django.conf import settings

from keys.public_keys import PublicKey

TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
TIMES = ("iat", "nbf", "exp")
REQUIRED = ["iss", "aud", "sub", "tenant_id", *TIMES]
# An id that had to be shortened or cleaned could turn into somebody else's.
ID = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,128}")


class TokenRefused(Exception):
    """The reason is for the log: it would tell a stranger how far a forgery got."""

    def __init__(self, reason: str, kid: str = "") -> None:
        super().__init__(reason)
        self.kid = kid


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says of itself; true only after `verify`."""

    text: str
    kid: str
    issuer: str
    tenant_id: str
    user_id: str


def is_token(text: str) -> bool:
    return TOKEN.fullmatch(text) is not None


def read(text: str) -> Token:
    try:
        found = jwt.decode_complete(text, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise TokenRefused(f"it cannot be read: {error}") from error
    header, claims = found["header"], found["payload"]
    kid = header.get("kid")
    if not isinstance(kid, str) or not ID.fullmatch(kid):
        raise TokenRefused("its header has no kid")
    missing = [name for name in REQUIRED if claims.get(name) is None]
    if missing:
        raise TokenRefused(f"it has no {', '.join(missing)}", kid)
    for name in ("iss", "sub", "tenant_id"):
        if not isinstance(claims[name], str) or not ID.fullmatch(claims[name]):
            raise TokenRefused(f"its {name} is not text of 1 to 128 characters", kid)
    _check_times(claims, kid)
    return Token(text, kid, claims["iss"], claims["tenant_id"], claims["sub"])


def _check_times(claims: dict[str, Any], kid: str) -> None:
    if not all(_is_time(claims[name]) for name in TIMES):
        raise TokenRefused(f"one of {', '.join(TIMES)} is not a number of seconds", kid)
    lifetime, longest = claims["exp"] - claims["iat"], settings.CODEAPI_JWT_MAX_TTL_SECONDS
    if not 0 < lifetime <= longest:
        raise TokenRefused(
            f"it lives for {lifetime} s, and CODEAPI_JWT_MAX_TTL_SECONDS is {longest}", kid
        )


def _is_time(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        # Written so that NaN and what is no moment are refused as well.
        and abs(value) < 2**53
    )


def verify(token: Token, keys: Iterable[PublicKey], *, audience: str) -> None:
    """A token may be used again within its time: LibreChat has one for several calls."""
    named = [key for key in keys if key.kid == token.kid]
    if not named:
        raise TokenRefused(f"no key is named {token.kid!r}", token.kid)
    allowed = settings.CODEAPI_JWT_ALLOWED_ALGS
    for key in named:
        if key.algorithm not in allowed:
            refused = f"CODEAPI_JWT_ALLOWED_ALGS does not have {key.algorithm}"
            continue
        try:
            jwt.decode(
                token.text,
                key.key,
                # The key's, whatever the token says: one key is never used in two ways.
                algorithms=[key.algorithm],
                audience=audience,
                issuer=token.issuer,
                leeway=settings.CODEAPI_JWT_CLOCK_SKEW_SECONDS,
                options={"require": REQUIRED},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            refused = str(error)
        else:
            return
    raise TokenRefused(f"{refused} (key {token.kid!r})", token.kid)
