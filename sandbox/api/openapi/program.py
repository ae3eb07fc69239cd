"""What a client sends to have a program run, from the serializer that reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from rest_framework import serializers

from sandbox.api.callers import KINDS
from sandbox.api.openapi.fields import ID, EnumField, IdField
from sandbox.api.serializers import HINT, LANGUAGES
from sandbox.api.text import LABEL_LENGTH
from sandbox.runner.names import COMPONENT_BYTES, MAX_BYTES

if TYPE_CHECKING:
    from drf_spectacular.openapi import AutoSchema
    from drf_spectacular.utils import Direction

LABEL = {"type": "string", "maxLength": LABEL_LENGTH}
PART = rf"(?!\.{{1,2}}(?:/|$))[^/\\\u0000-\u001f\u007f-\u009f]{{1,{COMPONENT_BYTES}}}"

PROPERTIES: dict[str, dict[str, Any]] = {
    "lang": {
        "type": "string",
        "enum": list(LANGUAGES),
        "description": (
            "`py`, `bash` or `js`; the others are names for the same three. In upper case as well."
        ),
    },
    "code": {"type": "string", "description": "The whole program. It may be empty."},
    "args": {
        "type": "array",
        "items": {"type": "string", "pattern": "^[^\\u0000]*$"},
        "description": (
            "Its command line. A single string, numbers and nulls in the list are read as a model "
            "means them."
        ),
    },
    "files": {
        "type": "array",
        "description": (
            "Files for the workspace, `/mnt/data`: those of an upload or of an earlier run. One "
            "that is not found any more, by its id or by its name, is left out."
        ),
    },
    "session_id": ID
    | {
        "description": (
            "The session of an earlier run to go on in: with its files, and in its container if "
            "that still lives. Ignored where `files` are sent, or where it is not known."
        )
    },
    "runtime_session_hint": {
        "type": "string",
        "pattern": f"^{HINT.pattern}$",
        "description": (
            "A name of your own for a session: made by the first run with it, gone on in by "
            "the next."
        ),
    },
    "timeout": {
        "type": "number",
        "exclusiveMinimum": 0,
        "description": "Milliseconds by the clock; what is more than the server allows is lowered.",
    },
    "user_id": LABEL
    | {"description": "The user, where neither a token nor the header `User-Id` names one."},
    "entity_id": LABEL | {"description": "The agent, of old versions of LibreChat."},
}


class FileRefSerializer(serializers.Serializer[Any]):
    """A file of an earlier answer, which may be sent back as it came: what is not named here is
    ignored."""

    id = IdField(required=False)
    storage_session_id = IdField(required=False, help_text="Where it is.")
    session_id = IdField(required=False, help_text="The same, of LibreChat before 0.8.6.")
    name = serializers.RegexField(
        rf"^{PART}(?:/{PART})*$",
        max_length=MAX_BYTES,
        required=False,
        help_text="Its path below `/mnt/data`. Without one it is the file's own.",
    )
    kind = EnumField(KINDS, required=False, help_text="Whose it is.")
    resource_id = serializers.CharField(max_length=LABEL_LENGTH, required=False)
    version = serializers.IntegerField(required=False, help_text="Of a skill.")
    entity_id = serializers.CharField(max_length=LABEL_LENGTH, required=False)


class Program(OpenApiSerializerExtension):
    """Which fields there are, and which may be left out or null, the serializer says. One that is
    not described here is a KeyError."""

    target_class = "sandbox.api.serializers.ExecSerializer"

    def get_name(self, auto_schema: AutoSchema, direction: Direction) -> str:
        return "Program"

    def map_serializer(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        ref = auto_schema.resolve_serializer(FileRefSerializer(), direction).ref
        fields = self.target.fields
        described = {name: dict(PROPERTIES[name]) for name in fields}
        described["files"] |= {"items": ref}
        for name, field in fields.items():
            if field.allow_null:
                described[name]["type"] = [described[name]["type"], "null"]
        return {
            "type": "object",
            "description": "What else it has is ignored.",
            "properties": described,
            "required": [name for name, field in fields.items() if field.required],
        }
