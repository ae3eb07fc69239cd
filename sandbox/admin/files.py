"""The bytes of a file, which the audit log below knows nothing of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, Http404
from django.shortcuts import redirect
from django.urls import path
from django.utils.html import format_html

from audit.admin import SandboxFileAdmin
from audit.admin.execution_page import download_url, is_kept
from audit.admin.records import quoted
from audit.admin.seeing import may_download
from audit.models import SandboxFile
from sandbox import store
from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

admin.site.unregister(SandboxFile)


@admin.register(SandboxFile)
class StoredFileAdmin(SandboxFileAdmin):
    def get_fieldsets(self, request: HttpRequest, obj: SandboxFile | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or not may_download(request) or not is_kept(obj):
            return fieldsets
        return [*fieldsets, ("Content", {"fields": ("content",)})]

    def get_readonly_fields(self, request: HttpRequest, obj: SandboxFile | None = None) -> Any:
        return (*super().get_readonly_fields(request, obj), "content")

    @admin.display(description="content")
    def content(self, file: SandboxFile) -> str:
        return format_html('<a class="text-link" href="{}">Download</a>', download_url(file))

    def get_urls(self) -> list[Any]:
        download = self.admin_site.admin_view(self.download_view)
        return [
            path("<path:object_id>/download/", download, name="audit_sandboxfile_download"),
            *super().get_urls(),
        ]

    def download_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """As an attachment of no type: no browser is to show what a program made."""
        if not may_download(request):
            raise PermissionDenied
        file = SandboxFile.objects.select_related("session").filter(pk=unquote(object_id)).first()
        if file is None:
            raise Http404
        try:
            if not is_kept(file):
                raise SandboxError("it was deleted, or its session has ended")
            content = store.open_file(file.store_key)
        except SandboxError as error:
            reason = str(error) or "its bytes are not in the store"
            self.message_user(request, f"Nothing to download: {reason}.", messages.WARNING)
            return redirect("admin:audit_sandboxfile_change", quoted(file))
        self.log_change(request, file, "Downloaded.")
        name = file.name.rpartition("/")[2]
        response = FileResponse(
            content, as_attachment=True, filename=name, content_type="application/octet-stream"
        )
        response["X-Content-Type-Options"] = "nosniff"
        return response
