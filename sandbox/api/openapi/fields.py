from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from rest_framework import serializers

from audit.ids import PATTERN

if TYPE_CHECKING:
    from drf_spectacular.openapi import AutoSchema
    from drf_spectacular.utils import Direction

TYPES = {bool: "boolean", int: "integer", str: "string"}
FILE = {"type": "string", "format": "binary"}
ID = {"type": "string", "pattern": f"^{PATTERN.pattern}$"}


class DescribedField(serializers.Field[Any, Any, Any, Any]):
    """For what no field of REST framework says."""

    def __init__(self, schema: dict[str, Any], **more: Any) -> None:
        self.schema = schema
        super().__init__(**more)


class Described(OpenApiSerializerFieldExtension):
    target_class = DescribedField
    match_subclasses = True

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        return dict(self.target.schema)


class ExactlyField(DescribedField):
    """Always the same value."""

    def __init__(self, value: bool | int | str, **more: Any) -> None:
        super().__init__({"type": TYPES[type(value)], "const": value}, **more)


class EnumField(DescribedField):
    def __init__(self, values: Iterable[str], **more: Any) -> None:
        super().__init__({"type": "string", "enum": list(values)}, **more)


class FileField(DescribedField):
    """A part of a form."""

    def __init__(self, **more: Any) -> None:
        super().__init__(FILE, **more)


class IdField(DescribedField):
    """Of a session or a file."""

    def __init__(self, **more: Any) -> None:
        super().__init__(ID, **more)
