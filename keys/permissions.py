from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, cast

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rest_framework.views import APIView

    from keys.authentication import APIRequest
    from keys.models import KeyScope


class Scoped(Protocol):
    scope: ClassVar[KeyScope]


class NotInScope(PermissionDenied):
    def __init__(self, scope: KeyScope, granted: Iterable[str]) -> None:
        super().__init__(
            {
                "error": "Not in the scope of this key",
                "message": (
                    f"This needs the scope {scope.value}; the key or token has "
                    f"{', '.join(granted)}. Scopes are set in the admin. LibreChat needs all."
                ),
            }
        )


class InScope(BasePermission):
    """A view behind this says which scope it is of."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        scope = cast("Scoped", view).scope
        granted = cast("APIRequest", request).auth.credential.scopes
        if scope in granted:
            return True
        raise NotInScope(scope, granted)
