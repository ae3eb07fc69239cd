"""The forms of uploads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from rest_framework import serializers

from sandbox.api.callers import KINDS
from sandbox.api.openapi.fields import FILE, DescribedField, EnumField, FileField

if TYPE_CHECKING:
    from drf_spectacular.openapi import AutoSchema
    from drf_spectacular.utils import Direction

LABEL = {"type": "string", "pattern": r"[^\u0000-\u001f\u007f-\u009f]"}
VERSION = {"type": "integer", "minimum": -(10**18) + 1, "maximum": 10**18 - 1}


def of(kind: str, *required: str) -> dict[str, Any]:
    properties: dict[str, Any] = {"kind": {"const": kind}}
    if "version" not in required:
        properties["version"] = False
    return {"properties": properties, "required": ["kind", *required]}


# `callers.scope_uploaded` in other words.
WHOSE = [
    {"properties": {"kind": False}},
    of("user"),
    of("agent", "id"),
    of("skill", "id", "version"),
]


class UploadFormSerializer(serializers.Serializer[Any]):
    """Each part with a file name is a file, whatever the name of its field. Several are kept in one
    session."""

    file = FileField()
    kind = EnumField(KINDS, required=False, help_text="Whose it is.")
    id = DescribedField(
        LABEL,
        required=False,
        help_text="The agent's or the skill's, which must be named, or the user's.",
    )
    version = DescribedField(VERSION, required=False, help_text="The skill's, which must have one.")
    read_only = serializers.BooleanField(  # type: ignore[assignment]
        required=False, help_text="Programs see it, and what they write to it is not kept."
    )
    entity_id = serializers.CharField(
        required=False, help_text="The agent, of old versions of LibreChat."
    )


class BatchFormSerializer(UploadFormSerializer):
    """Each file for itself: one that is too large does not keep the others out."""

    file = DescribedField({"type": "array", "items": FILE, "minItems": 1})  # type: ignore[assignment]


class Form(OpenApiSerializerExtension):
    target_class = UploadFormSerializer
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return {**schema, "oneOf": WHOSE}
