"""The admin's login, with an end to guessing.

Unlike a key a password can be guessed, so past the limit not even the right one is looked at; that
also spares the processor, as to check one takes half a second. An attacker could so keep the
operator out, most easily behind a proxy, where all have one address. Therefore a browser that has
logged in before has a count of its own, and no window is longer than some minutes.

Not in `keys.admin`, which cannot be imported before the site that needs this form is there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from unfold.forms import AuthenticationForm

from keys import throttling

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

LIMIT = 10
SECONDS = 300
COOKIE = "known_browser"
COOKIE_SECONDS = 180 * 24 * 3600


class LoginForm(AuthenticationForm):
    def clean(self) -> dict[str, Any]:
        username = self.cleaned_data.get("username", "")
        buckets = buckets_of(self.request, username)
        # Counted before it is known whether it fails: many at once get no further than in turn.
        wait = throttling.count(buckets, limit=LIMIT, seconds=SECONDS)
        if wait is not None:
            minutes = math.ceil(wait / 60)
            plural = "" if minutes == 1 else "s"
            raise ValidationError(
                f"Too many logins have failed. Try again in {minutes} minute{plural}.",
                code="too_many",
            )
        cleaned: dict[str, Any] = super().clean()
        throttling.take_back(buckets)
        self.request.logged_in_as = username
        return cleaned


def buckets_of(request: HttpRequest, username: str) -> list[str]:
    known = request.get_signed_cookie(COOKIE, default="", max_age=COOKIE_SECONDS)
    if known == username != "":
        return [throttling.bucket("login.browser", request.COOKIES[COOKIE])]
    network = throttling.network_of(request.META.get("REMOTE_ADDR", ""))
    return [
        throttling.bucket("login.address", network),
        throttling.bucket("login.user", f"{network} {username}"),
    ]


class RememberBrowser:
    """Proves a successful login, and lets nobody in by itself."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if username := getattr(request, "logged_in_as", ""):
            response.set_signed_cookie(
                COOKIE,
                username,
                max_age=COOKIE_SECONDS,
                path="/admin/",
                secure=settings.SESSION_COOKIE_SECURE,
                httponly=True,
                samesite="Strict",
            )
        return response
