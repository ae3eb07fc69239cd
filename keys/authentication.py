from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import (
    AuthenticationFailed,
    NotAuthenticated,
    PermissionDenied,
    Throttled,
)
from rest_framework.request import Request

from keys import networks, throttling
from keys.models import APIKey, Issuer
from keys.secret import prefix_of
from keys.tokens import TokenRefused, is_token

if TYPE_CHECKING:
    from django.http import HttpRequest

logger = logging.getLogger(__name__)

MISSING = {
    "error": "API key is missing",
    "message": (
        "Send the key as X-API-Key, as Authorization: Bearer, or in the base URL; LibreChat up to "
        "0.8.5 sends it by itself. LibreChat 0.8.6 and later sends no API key: have it sign its "
        "calls (CODEAPI_JWT_ENABLED=true there, its public key here), or set "
        "LIBRECHAT_CODE_BASEURL to http://any:<key>@<host>:8000 or to http://<host>:8000/k/<key>. "
        "Or list LibreChat's network in this server's KEYS_TRUSTED_NETWORKS."
    ),
}
# One text for all: a stranger does not learn which keys exist or existed.
INVALID = {
    "error": "API key is not valid",
    "message": (
        "The key is unknown, revoked or expired, or was cut when it was copied. The admin lists "
        "the keys by their first characters; manage.py createapikey makes a new one."
    ),
}
# Nor how far a forgery got; the log says it.
INVALID_TOKEN = {
    "error": "Invalid bearer token",
    "message": (
        "LibreChat 0.8.6 and later signs its calls when CODEAPI_JWT_ENABLED is true. This server "
        "needs the public key, the kid, the issuer and the audience that LibreChat signs with, and "
        "both need the right time. Its log says what is wrong with this token."
    ),
}
NOT_FROM_HERE = {
    "error": "Not allowed from this address",
    "message": (
        "The key or token is right, but may be used from its allowed networks only, and by calls "
        "that come through no proxy. The admin has these networks; none means everywhere."
    ),
}
TOO_MANY = (
    "Too many wrong API keys or tokens came from this address or for this key, and another one "
    "came now. A right one is let in at any time: the admin lists the keys by their first "
    "characters; manage.py createapikey makes a new one."
)
# Each costs a query, and a header has room for hundreds.
MAX_PRESENTED = 8


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """`request.user` of the API: let in by a key or token, and nobody in the admin."""

    # The LibreChat user that a token proves.
    user_id: str = ""

    pk: ClassVar = None
    is_authenticated: ClassVar = True
    is_anonymous: ClassVar = False
    is_active: ClassVar = True
    is_staff: ClassVar = False
    is_superuser: ClassVar = False


class APIRequest(Request):
    """The type of a request behind APIKeyAuthentication, for views."""

    auth: APIKey
    # Of which the types of REST framework know Django's only.
    user: KeyHolder  # type: ignore[assignment]


class TooManyWrongKeys(Throttled):
    """Instead of the 401: after a while the one who guesses shall not even be told."""

    def __init__(self, wait: float) -> None:
        super().__init__(detail=TOO_MANY)
        self.wait = wait


class APIKeyAuthentication(BaseAuthentication):
    """The first valid credential wins, wherever it stands: a proxy may add a key to LibreChat's
    calls. Tokens come first, as they prove a user too."""

    def authenticate(self, request: Request) -> tuple[KeyHolder, APIKey]:
        call = request._request
        presented = sorted(presented_secrets(call), key=is_token, reverse=True)
        secrets = list(dict.fromkeys(presented))[:MAX_PRESENTED]
        reasons: list[TokenRefused] = []
        misplaced: APIKey | None = None
        for secret in secrets:
            try:
                key, user_id = identify(secret)
            except TokenRefused as reason:
                reasons.append(reason)
                continue
            if key is None:
                continue
            if not key.credential.networks or networks.is_within(call, key.credential.networks):
                return self.admit(key, user_id)
            misplaced = key
        if misplaced is not None:
            logger.warning("403: %s is not allowed from %s", misplaced, address(request))
            raise PermissionDenied(NOT_FROM_HERE)
        if secrets:
            raise self.refusal(request, secrets, reasons)
        if networks.is_within(call, settings.KEYS_TRUSTED_NETWORKS):
            key = APIKey.objects.for_trusted_networks()
            if key.is_usable:
                return self.admit(key)
        logger.warning(
            "401: no API key from %s. LibreChat 0.8.6 and later sends none by itself: have it sign "
            "its calls (CODEAPI_JWT_ENABLED), put the key into its base URL, or list its network "
            "in KEYS_TRUSTED_NETWORKS.",
            address(request),
        )
        raise NotAuthenticated(MISSING)

    def admit(self, key: APIKey, user_id: str = "") -> tuple[KeyHolder, APIKey]:
        key.record_use()
        return KeyHolder(user_id), key

    def refusal(
        self, request: Request, secrets: list[str], reasons: list[TokenRefused]
    ) -> Throttled | AuthenticationFailed:
        """Answered at once, also where it is too many: a delay would hold one of few threads."""
        prefixes = [prefix for secret in secrets if (prefix := prefix_of(secret))]
        # What a prefix is to a key, the kid is to a token: it says what is being guessed.
        prefixes += [f"kid {reason.kid}" for reason in reasons if reason.kid]
        wait = throttling.count_wrong_keys(request.META.get("REMOTE_ADDR", ""), prefixes)
        if wait is not None:
            return TooManyWrongKeys(wait)
        for reason in reasons:
            logger.warning("401: a token from %s is refused: %s", address(request), reason)
        if reasons:
            return AuthenticationFailed(INVALID_TOKEN)
        logger.warning("401: no valid API key among those from %s", address(request))
        return AuthenticationFailed(INVALID)

    def authenticate_header(self, request: Request) -> str:
        """Not `Basic`: a browser would then ask a person for a password."""
        return "ApiKey"


def identify(secret: str) -> tuple[APIKey | None, str]:
    """Whose it is, and the user that it proves; for a token that is refused, why."""
    if is_token(secret):
        return Issuer.authenticate(secret)
    return APIKey.authenticate(secret), ""


def presented_secrets(request: HttpRequest) -> Iterator[str]:
    """All that could be a key, unchecked. Repeated headers arrive joined by commas."""
    if secret := getattr(request, "url_secret", ""):
        yield secret
    for header in ("X-API-Key", "Api-Key"):
        yield from parts(request.headers.get(header, ""))
    for credentials in parts(request.headers.get("Authorization", "")):
        scheme, _, text = credentials.partition(" ")
        if not (text := text.strip()):
            continue
        match scheme.lower():
            case "bearer":
                yield text
            case "basic":
                yield from basic_secrets(text)


def parts(header: str) -> list[str]:
    return [part for text in header.split(",") if (part := text.strip())]


def basic_secrets(text: str) -> Iterator[str]:
    """The password, with any user name; or the user name, as in http://<key>@host."""
    try:
        user, _, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        # Still presented: a broken credential is refused even in a trusted network.
        yield text
        return
    yield from (secret for secret in (password, user) if secret)


def address(request: Request) -> str:
    return str(request.META.get("REMOTE_ADDR") or "an unknown address")
