"""Where a call comes from."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.http import HttpRequest

# A proxy's mark: REMOTE_ADDR is then the proxy's address and says nothing about the caller.
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")


def is_within(request: HttpRequest, networks: Iterable[str]) -> bool:
    """A forwarded request never is: a proxy inside such a network would let everybody in."""
    if any(header in request.headers for header in FORWARDED):
        return False
    try:
        caller = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    # An IPv4 caller of a socket that listens on both.
    caller = getattr(caller, "ipv4_mapped", None) or caller
    return any(caller in ipaddress.ip_network(network) for network in networks)


HINT = 'Use CIDR notation without host bits, for example "10.0.3.0/24" or "::1/128".'


def why_not_a_network(text: str) -> str | None:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        return str(error)
    return None
