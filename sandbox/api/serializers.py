"""What LibreChat sends to `/exec`, read as leniently as its versions differ.

Fields that are not named here are never looked at: old versions put the API key among them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from rest_framework import serializers

from audit.ids import is_id
from sandbox.api.errors import UnsupportedLanguage
from sandbox.api.text import label, without_surrogates
from sandbox.names import is_safe_name
from sandbox.services import FileRef, RunRequest

LANGUAGES = {
    "py": "py",
    "python": "py",
    "python3": "py",
    "bash": "bash",
    "sh": "bash",
    "shell": "bash",
    "js": "js",
    "javascript": "js",
    "node": "js",
    "nodejs": "js",
}
HINT = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# Linux takes no longer argument, and a quarter of the default stack for all of them.
ARGUMENT_BYTES = 128 * 1024 - 1
ARGUMENTS_BYTES = 1024 * 1024
VERSION = re.compile(r"-?[0-9]{1,18}")


class LanguageField(serializers.Field[str, Any, str, Any]):
    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("Not a string.")
        language = LANGUAGES.get(data.strip().lower())
        if language is None:
            raise UnsupportedLanguage(without_surrogates(data))
        return language


class CodeField(serializers.Field[str, Any, str, Any]):
    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("Not a string.")
        return without_surrogates(data)


class ArgsField(serializers.Field[tuple[str, ...], Any, list[str], Any]):
    """A model chose them: one string, numbers and nulls do occur."""

    def to_internal_value(self, data: Any) -> tuple[str, ...]:
        if isinstance(data, dict):
            raise serializers.ValidationError("Not a list.")
        values = data if isinstance(data, list) else [data]
        args = tuple(argument(value) for value in values if value is not None)
        sizes = [len(arg.encode()) for arg in args]
        if any(size > ARGUMENT_BYTES for size in sizes) or sum(sizes) > ARGUMENTS_BYTES:
            raise serializers.ValidationError("Too long for a command line.")
        if any("\0" in arg for arg in args):
            raise serializers.ValidationError("A command line cannot hold NUL.")
        return args


def argument(value: Any) -> str:
    if isinstance(value, list | dict):
        raise serializers.ValidationError("Not a list of strings.")
    return without_surrogates(value if isinstance(value, str) else json.dumps(value))


class FileRefsField(serializers.Field[tuple[FileRef, ...], Any, list[Any], Any]):
    def to_internal_value(self, data: Any) -> tuple[FileRef, ...]:
        if not isinstance(data, list):
            raise serializers.ValidationError("Not a list.")
        refs = [value for value in data if value is not None]
        limit = settings.SANDBOX_MAX_INPUT_FILES
        if len(refs) > limit:
            raise serializers.ValidationError(f"More than {limit} files.")
        if not all(isinstance(ref, dict) for ref in refs):
            raise serializers.ValidationError("Not a list of objects.")
        return tuple(file_ref(ref) for ref in refs)


def file_ref(data: dict[str, Any]) -> FileRef:
    """A ref may be stale, and then its name alone counts: an odd id is no reason to refuse it."""
    modern = data.get("storage_session_id") is not None
    location = data.get("storage_session_id" if modern else "session_id")
    return FileRef(
        id=known_id(data.get("id")),
        session_id=known_id(location),
        name=file_name(data.get("name")),
        legacy=not modern,
        kind=label(data.get("kind")) or None,
        resource_id=label(data.get("resource_id")) or None,
        version=version_number(data.get("version")),
        entity_id=label(data.get("entity_id")) or None,
    )


def known_id(value: Any) -> str:
    return value if isinstance(value, str) and is_id(value) else ""


def file_name(value: Any) -> str:
    if value is None or value == "":
        return ""
    if not isinstance(value, str):
        raise serializers.ValidationError("A file name is not a string.")
    name = without_surrogates(value)
    if not is_safe_name(name):
        raise serializers.ValidationError(
            "A file name must be a path below /mnt/data: relative, without '..', backslashes, "
            "control characters and empty parts."
        )
    return name


def version_number(value: Any) -> int | None:
    if isinstance(value, int | str) and VERSION.fullmatch(str(value)):
        return int(value)
    return None


class SessionField(serializers.Field[str, Any, str, Any]):
    """Informational, says LibreChat: what cannot be one of ours counts as absent."""

    def to_internal_value(self, data: Any) -> str:
        return known_id(data)


class HintField(serializers.Field[str, Any, str, Any]):
    def to_internal_value(self, data: Any) -> str:
        if data == "":
            return ""
        if not isinstance(data, str) or not HINT.fullmatch(data):
            raise serializers.ValidationError("Not 1 to 128 characters of A-Z a-z 0-9 . _ : -")
        return data


class TimeoutField(serializers.Field[float, Any, float, Any]):
    """Milliseconds; ours are seconds."""

    def to_internal_value(self, data: Any) -> float:
        try:
            milliseconds = math.nan if isinstance(data, bool) else float(data)
        except (TypeError, ValueError, OverflowError):
            milliseconds = math.nan
        # Written so that NaN is refused as well.
        if not milliseconds > 0:
            raise serializers.ValidationError("Not a positive number of milliseconds.")
        return min(milliseconds / 1000, float(settings.SANDBOX_MAX_RUN_SECONDS))


class LabelField(serializers.Field[str, Any, str, Any]):
    def to_internal_value(self, data: Any) -> str:
        return label(data)


class ExecSerializer(serializers.Serializer[Any]):
    lang = LanguageField()
    code = CodeField()
    args = ArgsField(required=False, allow_null=True)
    files = FileRefsField(required=False, allow_null=True)
    session_id = SessionField(required=False, allow_null=True)
    runtime_session_hint = HintField(required=False, allow_null=True)
    timeout = TimeoutField(required=False, allow_null=True)
    user_id = LabelField(required=False, allow_null=True)
    entity_id = LabelField(required=False, allow_null=True)

    def run_validation(self, data: Any = serializers.empty) -> dict[str, Any]:
        """With the declared fields as they are. They keep nothing of a request, and to copy them
        for each takes longer than all that they do."""
        if not isinstance(data, Mapping):
            raise serializers.ValidationError({"non_field_errors": ["Not an object."]})
        values, errors = {}, {}
        for name, field in self._declared_fields.items():
            try:
                values[name] = field.run_validation(data.get(name, serializers.empty))
            except serializers.SkipField:
                pass
            except serializers.ValidationError as error:
                errors[name] = error.detail
        if errors:
            raise serializers.ValidationError(errors)
        return values

    def run_request(self) -> RunRequest:
        data = self.validated_data
        return RunRequest(
            language=data["lang"],
            code=data["code"],
            args=data.get("args") or (),
            files=data.get("files") or (),
            session_id=data.get("session_id") or "",
            hint=data.get("runtime_session_hint") or "",
            timeout_seconds=data.get("timeout"),
        )

    def user(self) -> str:
        return self.validated_data.get("user_id") or ""

    def entity(self) -> str:
        return self.validated_data.get("entity_id") or ""
