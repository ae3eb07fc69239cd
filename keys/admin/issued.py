"""The one page that ever shows a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.template.response import TemplateResponse

if TYPE_CHECKING:
    from django.http import HttpRequest

    from keys.models import APIKey


def env(base: str, secret: str) -> str:
    return f"LIBRECHAT_CODE_BASEURL={base}\nLIBRECHAT_CODE_API_KEY={secret}"


def issued(
    request: HttpRequest, key: APIKey, title: str, context: dict[str, Any]
) -> TemplateResponse:
    scheme, host = request.scheme, request.get_host()
    base = f"{scheme}://{host}"
    context = context | {
        "title": title,
        "key": key,
        "base": base,
        "env_with_header": env(base, key.secret),
        "env_with_url": env(f"{scheme}://any:{key.secret}@{host}", key.secret),
    }
    return TemplateResponse(request, "keys/issued.html", context)
