from __future__ import annotations

import re
from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from django.http.response import HttpResponseBase

SLASHES = re.compile("/{2,}")
BASE = r"(?:(?:/v1|/run/exec)(?=/|$))?"
MOUNT = re.compile(rf"(?P<base>{BASE}(?:/k/(?P<secret>[^/]+))?{BASE})(?P<path>/.*)?", re.DOTALL)
# Written for people and browsers, who know how to follow a redirect.
FOR_BROWSERS = re.compile("/(admin|static)(/|$)")
# What servers call the address that was asked for.
ADDRESSES = ("PATH_INFO", "RAW_URI", "REQUEST_URI")


# LibreChat up to 0.8.7 copies a download's headers into its own answer. What binds a whole host, or
# says which pages may use it, is then said of LibreChat's.
NOT_OF_DOWNLOADS = (
    "Strict-Transport-Security",
    "Cross-Origin-Opener-Policy",
    "Cross-Origin-Resource-Policy",
    "X-Frame-Options",
)


class SafeHeaders:
    """Nothing of ours is for other sites' pages, nor to be kept by anybody in between."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        if "Content-Disposition" in response:
            for name in NOT_OF_DOWNLOADS:
                response.headers.pop(name, None)
        return response


class SmallForms:
    """People send no files in forms. Django limits every form but a multipart one, and reads it
    before it knows who sends it; without a length it is as good as endless. Of another method's
    body it reads nothing by itself."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.method == "POST" and FOR_BROWSERS.match(request.path_info):
            length = int(request.META.get("CONTENT_LENGTH") or 0)
            if length > (settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0):
                raise RequestDataTooBig("A form is too large")
        return self.get_response(request)


class NormalisePath:
    """Every base URL that a LibreChat may be configured with leads to the same few paths.

    Nothing redirects: an upload would lose its body. A secret in the path is taken out here, so
    that nothing behind this can log it.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not FOR_BROWSERS.match(request.path_info):
            path, secret = normalise(request.path_info)
            request.path = request.path_info = path
            request.META |= {name: path for name in ADDRESSES if name in request.META}
            request.url_secret = secret  # type: ignore[attr-defined]
        return self.get_response(request)


def normalise(path: str) -> tuple[str, str]:
    """The path below any base URL, and the key if that was in the base URL."""
    path = SLASHES.sub("/", path).removesuffix("/")
    mount = MOUNT.fullmatch(path)
    if mount is None:
        return path, ""
    below = mount["path"] or ("/exec" if mount["base"].endswith("/run/exec") else "/")
    return below, mount["secret"] or ""
