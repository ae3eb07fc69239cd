"""Holds the API's answers against its own description."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from sandbox.api.middleware import FOR_BROWSERS, normalise

Schema = dict[str, Any]

# Named by its path, as script/attack comes here without Django's settings.
DOCUMENT = Path(__file__).parent.parent / "sandbox" / "api" / "openapi" / "openapi.json"
OF_DOCS = ("/docs", "/openapi.json")
# What is said of these statuses holds also where no operation is as called.
NOT_FOUND, WRONG_METHOD = 404, 405
ERROR = {"$ref": "#/components/schemas/Error"}
# Of a status, what an answer cannot do without.
HEADERS = {401: "WWW-Authenticate", 429: "Retry-After"}


@cache
def document() -> Schema:
    read: Schema = json.loads(DOCUMENT.read_text())
    return read


@cache
def components() -> Schema:
    """Those of the document, with nothing let pass that they do not name."""
    result: Schema = closed(document()["components"])
    return result


def closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(value) for key, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        result.setdefault("additionalProperties", False)
    return result


@cache
def validator(schema: str) -> Draft202012Validator:
    whole = closed(json.loads(schema)) | {"components": components()}
    return Draft202012Validator(whole, format_checker=FormatChecker())


def check_value(schema: Schema, value: Any) -> None:
    validator(json.dumps(schema, sort_keys=True)).validate(value)


def resolved(item: Schema) -> Schema:
    """Itself, or what it refers to."""
    found: Any = item
    if reference := item.get("$ref"):
        found = document()
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
    return dict(found)


def path_item(path: str) -> Schema | None:
    for template, item in document()["paths"].items():
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path):
            return dict(item)
    return None


def described(method: str, path: str, status: int) -> Schema:
    """The response that the document has for an answer; without content where it may be none."""
    item = path_item(path)
    if item is None:
        assert status in (NOT_FOUND, 400), f"{status} of {path}, which is not described"
        return {"content": {"application/json": {"schema": ERROR}}}
    operation = item.get("get" if method == "HEAD" else method.lower())
    if operation is None:
        if status == WRONG_METHOD:
            return {"content": {"application/json": {"schema": ERROR}}}
        # A call is let in before its method is looked at.
        assert status in (400, 401, 403, 415, 429, 500, 503), f"{status} of {method} {path}"
        operation = next(iter(item.values()))
    assert str(status) in operation["responses"], (
        f"{method} {path} is not described to answer {status}"
    )
    return resolved(operation["responses"][str(status)])


def check(method: str, path: str, status: int, headers: Any, body: bytes | None) -> None:
    """Fails unless the document describes this answer; of a body that is None only the rest."""
    path, _ = normalise(path)
    if FOR_BROWSERS.match(path) or path in OF_DOCS:
        return
    content = described(method, path, status)["content"]
    if (required := HEADERS.get(status)) is not None:
        assert required in headers, f"{status} without {required}"
    if "*/*" in content or method == "HEAD" or body is None:
        return
    media_type = headers["Content-Type"].partition(";")[0]
    assert media_type in content, f"{method} {path} is not described to answer {media_type}"
    check_value(content[media_type]["schema"], json.loads(body))
