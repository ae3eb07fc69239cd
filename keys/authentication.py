from __future__ import annotations

import base64
import binascii
import ipaddress
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated, Throttled
from rest_framework.request import Request

from keys import throttling
from keys.models import APIKey, prefix_of

if TYPE_CHECKING:
    from django.http import HttpRequest

logger = logging.getLogger(__name__)

MISSING = {
    "error": "API key is missing",
    "message": (
        "Send the key as X-API-Key, as Authorization: Bearer, or in the base URL. LibreChat 0.8.6 "
        "and later sends no API key by itself: set LIBRECHAT_CODE_BASEURL to "
        "http://any:<key>@<host>:8000 or to http://<host>:8000/k/<key>. Or list LibreChat's "
        "network in this server's KEYS_TRUSTED_NETWORKS."
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
TOO_MANY = (
    "Too many wrong API keys came from this address or for this key, and another one came now. "
    "A right key is let in at any time: the admin lists the keys by their first characters; "
    "manage.py createapikey makes a new one."
)
# Each costs a query, and a header has room for hundreds.
MAX_PRESENTED = 8
# A proxy's mark: REMOTE_ADDR is then the proxy's address and says nothing about the caller.
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")


class KeyHolder:
    """`request.user` of the API: let in by a key, and nobody in the admin."""

    pk = None
    is_authenticated = True
    is_anonymous = False
    is_active = True
    is_staff = False
    is_superuser = False


class APIRequest(Request):
    """The type of a request behind APIKeyAuthentication, for views."""

    auth: APIKey


class TooManyWrongKeys(Throttled):
    """Instead of the 401: after a while the one who guesses shall not even be told."""

    def __init__(self, wait: float) -> None:
        super().__init__(detail=TOO_MANY)
        self.wait = wait


class APIKeyAuthentication(BaseAuthentication):
    """The first valid key wins, wherever it stands: a proxy may add one beside LibreChat's."""

    holder: ClassVar = KeyHolder()

    def authenticate(self, request: Request) -> tuple[KeyHolder, APIKey]:
        presented = dict.fromkeys(presented_secrets(request._request))
        secrets = list(presented)[:MAX_PRESENTED]
        for secret in secrets:
            if (key := APIKey.authenticate(secret)) is not None:
                return self.admit(key)
        if secrets:
            raise self.refusal(request, secrets)
        if in_trusted_network(request._request):
            key = APIKey.objects.for_trusted_networks()
            if key.is_usable:
                return self.admit(key)
        logger.warning(
            "401: no API key from %s. LibreChat 0.8.6 and later sends none by itself: put the key "
            "into its base URL, or list its network in KEYS_TRUSTED_NETWORKS.",
            address(request),
        )
        raise NotAuthenticated(MISSING)

    def admit(self, key: APIKey) -> tuple[KeyHolder, APIKey]:
        key.record_use()
        return self.holder, key

    def refusal(self, request: Request, secrets: list[str]) -> Throttled | AuthenticationFailed:
        """Answered at once, also where it is too many: a delay would hold one of few threads."""
        prefixes = [prefix for secret in secrets if (prefix := prefix_of(secret))]
        wait = throttling.count_wrong_keys(request.META.get("REMOTE_ADDR", ""), prefixes)
        if wait is not None:
            return TooManyWrongKeys(wait)
        logger.warning("401: no valid API key among those from %s", address(request))
        return AuthenticationFailed(INVALID)

    def authenticate_header(self, request: Request) -> str:
        """Not `Basic`: a browser would then ask a person for a password."""
        return "ApiKey"


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


def in_trusted_network(request: HttpRequest) -> bool:
    """A forwarded request never is: a proxy inside such a network would let everybody in."""
    if any(header in request.headers for header in FORWARDED):
        return False
    try:
        caller = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    # An IPv4 caller of a socket that listens on both.
    caller = getattr(caller, "ipv4_mapped", None) or caller
    return any(
        caller in ipaddress.ip_network(network) for network in settings.KEYS_TRUSTED_NETWORKS
    )


def address(request: Request) -> str:
    return str(request.META.get("REMOTE_ADDR") or "an unknown address")
