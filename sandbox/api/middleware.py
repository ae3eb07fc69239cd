from __future__ import annotations

import re
from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

SLASHES = re.compile("/{2,}")
BASE = r"(?:(?:/v1|/run/exec)(?=/|$))?"
MOUNT = re.compile(rf"(?P<base>{BASE}(?:/k/(?P<secret>[^/]+))?{BASE})(?P<path>/.*)?", re.DOTALL)
# Written for people and browsers, who know how to follow a redirect.
FOR_BROWSERS = re.compile("/(admin|static)(/|$)")
# What servers call the address that was asked for.
ADDRESSES = ("PATH_INFO", "RAW_URI", "REQUEST_URI")


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
