from django.contrib import admin
from django.urls import include, path

from sandbox.api import docs

urlpatterns = [
    path("admin/", include("sandbox.admin.urls")),
    path("admin/", admin.site.urls),
    path("docs", docs.Docs.as_view()),
    path("openapi.json", docs.OpenAPI.as_view()),
    path("", include("sandbox.api.urls")),
]

handler400 = "sandbox.api.errors.bad_request"
handler403 = "sandbox.api.errors.permission_denied"
handler404 = "sandbox.api.errors.page_not_found"
handler500 = "sandbox.api.errors.server_error"
