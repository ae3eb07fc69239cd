"""What the API answers. `wire` and `listings` build it by hand, as fast as can be; these say what
it is, and the tests hold every answer that they get against them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.utils import (
    PolymorphicProxySerializer,
    extend_schema_field,
    extend_schema_serializer,
)
from rest_framework import serializers

from audit.models import LimitHit
from sandbox.answers import MAX_SKIPPED_NAMES, SKIP_REASONS
from sandbox.api.openapi.fields import DescribedField, EnumField, ExactlyField, IdField
from sandbox.api.uploads import MAX_FILES
from sandbox.api.wire import LANGUAGE, OUTPUT_TOO_LONG, STATUS
from sandbox.parts import Part

if TYPE_CHECKING:
    from drf_spectacular.openapi import AutoSchema
    from drf_spectacular.utils import Direction


OBJECT_NAME = {
    "type": "string",
    "description": "`detail=simple`: `<session>/<file>` and the ending of its name.",
}


class HealthSerializer(serializers.Serializer[Any]):
    status = ExactlyField("ok")


class ReadinessSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(["ready", "not ready", "stopping"])
    error = serializers.CharField(required=False, help_text="Of a server that is about to end.")
    parts = DescribedField(
        {
            "type": "object",
            "propertyNames": {"enum": [part.value for part in Part]},
            "additionalProperties": {"type": "string"},
        },
        required=False,
        help_text="Each part that was asked: `ok`, `busy`, or a word for what is wrong with it.",
    )


class LocationSerializer(serializers.Serializer[Any]):
    """Where a file is: the same session in the words of old and of new versions of LibreChat."""

    id = IdField()
    session_id = IdField()
    storage_session_id = IdField()


class RunFileSerializer(LocationSerializer):
    """A file that the run made or changed; or, with `inherited`, one of its inputs that it left as
    it was."""

    name = serializers.CharField(help_text="Its path below `/mnt/data`.")
    size = serializers.IntegerField(min_value=0, help_text="In bytes.")
    contentType = serializers.CharField()
    inherited = ExactlyField(True, required=False)
    modified_from = LocationSerializer(
        required=False, help_text="The input of this name, which the run has changed."
    )
    kind = serializers.CharField(required=False, help_text="Of an input, as it was sent.")
    resource_id = serializers.CharField(required=False)
    version = serializers.IntegerField(required=False)
    entity_id = serializers.CharField(required=False)


class TruncationSerializer(serializers.Serializer[Any]):
    """Files that the run left and this answer has not."""

    code = ExactlyField("artifact_truncated")
    reasons = DescribedField(
        {
            "type": "object",
            "propertyNames": {"enum": list(SKIP_REASONS)},
            "additionalProperties": {"type": "integer", "minimum": 1},
            "minProperties": 1,
        },
        help_text="How many for which reason.",
    )
    skipped = serializers.ListField(
        child=serializers.CharField(),
        max_length=MAX_SKIPPED_NAMES,
        help_text="The names of the first of them.",
    )
    skipped_count = serializers.IntegerField(min_value=1)


class RunSerializer(serializers.Serializer[Any]):
    """How a program ended. That it failed is no error of the API."""

    session_id = IdField(help_text="Send it with the next run to go on in its workspace.")
    stdout = serializers.CharField(allow_blank=True)
    stderr = serializers.CharField(
        allow_blank=True,
        help_text="The lines after `[sandbox]` are the server's: which limit ended the program.",
    )
    files = RunFileSerializer(many=True)
    code = serializers.IntegerField(
        allow_null=True, help_text="The exit status; 128 and the number of a signal."
    )
    signal = serializers.CharField(allow_null=True, help_text="Such as `SIGKILL`.")
    status = DescribedField(
        {"type": ["string", "null"], "enum": [*STATUS.values(), OUTPUT_TOO_LONG, None]},
        help_text=(
            "`TO`: out of time. `SG`: out of memory. `OL`: stdout was cut. Null: it ended by "
            "itself, whatever its exit status."
        ),
    )
    message = serializers.CharField(allow_null=True, help_text="Why it was ended, in words.")
    wall_time = serializers.IntegerField(allow_null=True, help_text="Milliseconds by the clock.")
    cpu_time = serializers.IntegerField(allow_null=True, help_text="Milliseconds of CPU.")
    memory = serializers.IntegerField(allow_null=True, help_text="At its peak, in bytes.")
    language = EnumField(sorted(LANGUAGE.values()))
    limits_hit = serializers.ListField(
        child=EnumField(LimitHit.values),
        required=False,
        allow_empty=False,
        help_text="The limits that it came up against, also those that it coped with.",
    )
    artifact_truncation = TruncationSerializer(required=False)
    deleted_files = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="Names of the request's files that it has removed.",
    )
    runtime_session_id = IdField(
        required=False, help_text="With `runtime_session_hint` only: the session."
    )
    runtime_status = EnumField(
        ["new", "reused"], required=False, help_text="Whether its container was there before."
    )


class StoredFileSerializer(serializers.Serializer[Any]):
    fileId = IdField()
    id = IdField()
    filename = serializers.CharField(help_text="As it was sent.")
    name = serializers.CharField(help_text="As it is kept: what no workspace can hold is replaced.")
    size = serializers.IntegerField(min_value=0)


class UploadedSerializer(serializers.Serializer[Any]):
    message = ExactlyField("success")
    session_id = IdField()
    storage_session_id = IdField()
    files = StoredFileSerializer(many=True)


class BatchFileSerializer(StoredFileSerializer):
    status = ExactlyField("success")


class RefusedFileSerializer(serializers.Serializer[Any]):
    status = ExactlyField("error")
    filename = serializers.CharField()
    error = serializers.CharField()


@extend_schema_field(
    PolymorphicProxySerializer(
        component_name="BatchEntry",
        serializers=[BatchFileSerializer, RefusedFileSerializer],
        resource_type_field_name=None,
        many=True,
    )
)
class BatchEntriesField(serializers.ListField):
    """In the order of the request."""


class BatchSerializer(serializers.Serializer[Any]):
    succeeded = serializers.IntegerField(min_value=0)
    failed = serializers.IntegerField(min_value=0)
    filesLimitReached = ExactlyField(
        True, required=False, help_text="There were more files; only the first have been read."
    )
    maxFiles = ExactlyField(MAX_FILES, required=False)


class BatchUploadedSerializer(BatchSerializer):
    message = EnumField(["success", "partial_success"])
    session_id = IdField()
    storage_session_id = IdField()
    files = BatchEntriesField()


class BatchRefusedSerializer(BatchSerializer):
    """Nothing of it is kept."""

    message = ExactlyField("error")
    error = serializers.CharField()
    files = RefusedFileSerializer(many=True)


class ListedFileSerializer(LocationSerializer):
    """`detail=summary` and `detail=full`."""

    name = serializers.CharField(help_text="`<session>/<file>` and the ending of its name.")
    fileId = IdField()
    filename = serializers.CharField(help_text="Its path below `/mnt/data`.")
    size = serializers.IntegerField(min_value=0)
    contentType = serializers.CharField()
    lastModified = serializers.DateTimeField()
    etag = serializers.CharField()
    metadata = DescribedField(
        {
            "type": "object",
            "properties": {
                "content-type": {"type": "string"},
                "original-filename": {"type": "string"},
                "original-filename-encoded": {"const": "none"},
            },
            "required": ["content-type", "original-filename", "original-filename-encoded"],
        }
    )


class NormalizedFileSerializer(serializers.Serializer[Any]):
    """`detail=normalized`."""

    id = IdField()
    name = serializers.CharField(help_text="Its path below `/mnt/data`.")
    storage_session_id = IdField()
    size = serializers.IntegerField(min_value=0)
    contentType = serializers.CharField()
    lastModified = serializers.DateTimeField()
    read_only = serializers.BooleanField()  # type: ignore[assignment]


@extend_schema_serializer(many=False)
class ListingSerializer(serializers.Serializer[Any]):
    """A list of one of the three; which of them, `detail` says."""


class Listing(OpenApiSerializerExtension):
    target_class = ListingSerializer

    def map_serializer(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        files = (ListedFileSerializer(), NormalizedFileSerializer())
        refs = [auto_schema.resolve_serializer(file, direction).ref for file in files]
        # Not oneOf: an empty list is all of them.
        return {"anyOf": [{"type": "array", "items": item} for item in [OBJECT_NAME, *refs]]}


class MetadataSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(help_text="`<session>/<file>` and the ending of its name.")
    originalFilename = serializers.CharField(help_text="Its path below `/mnt/data`.")
    size = serializers.IntegerField(min_value=0)
    contentType = serializers.CharField()
    lastModified = serializers.DateTimeField()
    etag = serializers.CharField()
    readOnly = serializers.BooleanField()


class DeletedSerializer(serializers.Serializer[Any]):
    message = ExactlyField("File deleted successfully")
    session_id = IdField()
    fileId = IdField()
