from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension

if TYPE_CHECKING:
    from drf_spectacular.openapi import AutoSchema

SCHEMES: dict[str, dict[str, Any]] = {
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "A key of this server. `Api-Key` is the same.",
    },
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": (
            "A key of this server, or a token (JWT, EdDSA or RS256) that LibreChat has signed. A "
            "token proves its user, who then sees only what is their own or shared."
        ),
    },
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "A key as the password, with any user name: `http://any:<key>@<host>`.",
    },
}


class Credentials(OpenApiAuthenticationExtension):
    """One of them is enough."""

    target_class = "keys.authentication.APIKeyAuthentication"
    name = list(SCHEMES)  # noqa: RUF012 - as drf-spectacular declares it

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[Any]]]:
        return [{name: []} for name in SCHEMES]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, Any]]:
        return list(SCHEMES.values())
