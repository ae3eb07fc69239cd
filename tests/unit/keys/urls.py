"""One route behind the keys, which says whose key it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.urls import path
from rest_framework.response import Response
from rest_framework.views import APIView

if TYPE_CHECKING:
    from keys.authentication import APIRequest


class WhoAmI(APIView):
    def get(self, request: APIRequest) -> Response:
        return Response(
            {
                "key": request.auth.name,
                "user": request.user.user_id,
                "is_staff": request.user.is_staff,
            }
        )


urlpatterns = [path("whoami", WhoAmI.as_view())]
