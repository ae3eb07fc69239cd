"""Who may see and do what on these pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.decorators import permission_required

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    View = Callable[..., HttpResponseBase]

WATCH = "audit.view_execution"
STOP = "audit.stop_execution"
READ_CODE = "audit.view_code"
READ_OUTPUT = "audit.view_output"
PLAY = "audit.use_playground"


def page(permission: str) -> Callable[[View], View]:
    """A view of the admin: who is not logged in is sent there, who may not see it is told so."""

    def wrap(view: View) -> View:
        # Without a request, so that its type is nobody's business.
        guarded: Any = permission_required(permission, raise_exception=True)(view)
        wrapped: View = admin.site.admin_view(guarded)
        return wrapped

    return wrap


def may_watch(request: HttpRequest) -> bool:
    return request.user.has_perm(WATCH)


def may_play(request: HttpRequest) -> bool:
    return request.user.has_perm(PLAY)
