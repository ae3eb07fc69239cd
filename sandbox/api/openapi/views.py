"""Which view does what. The views themselves know nothing of it."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.utils import extend_schema_view
from rest_framework.views import APIView

from sandbox.api.openapi import operations


class Described(OpenApiViewExtension):
    methods: ClassVar[dict[str, operations.Operation]] = {}

    def view_replacement(self) -> type[APIView]:
        """As it is a class of its own, what is said of it is not said of the view."""
        described = type(self.target.__name__, (self.target,), {})
        return extend_schema_view(**self.methods)(described)


class DescribedHealth(Described):
    target_class = "sandbox.api.views.Health"
    methods: ClassVar = {"get": operations.HEALTH}


class DescribedReady(Described):
    target_class = "sandbox.api.views.Ready"
    methods: ClassVar = {"get": operations.READY}


class DescribedExec(Described):
    target_class = "sandbox.api.views.Exec"
    methods: ClassVar = {"post": operations.RUN}


class DescribedProgrammatic(Described):
    target_class = "sandbox.api.views.Programmatic"
    methods: ClassVar = {"post": operations.PROGRAMMATIC}


class DescribedProgrammaticCancel(Described):
    target_class = "sandbox.api.views.ProgrammaticCancel"
    methods: ClassVar = {"post": operations.CANCEL}


class DescribedUpload(Described):
    target_class = "sandbox.api.views.Upload"
    methods: ClassVar = {"post": operations.UPLOAD}


class DescribedUploadBatch(Described):
    target_class = "sandbox.api.views.UploadBatch"
    methods: ClassVar = {"post": operations.UPLOAD_BATCH}


class DescribedDownload(Described):
    target_class = "sandbox.api.views.Download"
    methods: ClassVar = {"get": operations.DOWNLOAD}


class DescribedSessionFiles(Described):
    target_class = "sandbox.api.views.SessionFiles"
    methods: ClassVar = {"get": operations.LIST}


class DescribedSessionFile(Described):
    target_class = "sandbox.api.views.SessionFile"
    methods: ClassVar = {"delete": operations.deletion("deleteFile", "Under its own session only.")}


class DescribedSessionObject(Described):
    target_class = "sandbox.api.views.SessionObject"
    methods: ClassVar = {
        "get": operations.METADATA,
        "delete": operations.deletion(
            "deleteObject", "The same as `DELETE /files/{session_id}/{file_id}`."
        ),
    }
