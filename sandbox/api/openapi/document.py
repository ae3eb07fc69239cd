"""What belongs to no single operation."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any

DESCRIPTION = Path(__file__).with_name("description.md")
SERVERS = [
    {"url": "/", "description": "The canonical paths"},
    {"url": "/v1", "description": "As of LibreChat's official server"},
    {"url": "/run/exec", "description": "As many a LIBRECHAT_CODE_BASEURL ends"},
    {
        "url": "/k/{key}",
        "description": "With the key in the URL",
        "variables": {"key": {"default": "key", "description": "A key of this server."}},
    },
]
TAGS = [
    {"name": "Programs", "description": "Run code."},
    {"name": "Files", "description": "Upload, list, download and delete."},
    {"name": "Health", "description": "For whoever watches the server."},
]
# Where an answer names a file, and what can be done with it.
FILES_OF = {"run": "/files/0/id", "upload": "/files/0/fileId", "uploadBatch": "/files/0/fileId"}
ON_FILES = ("download", "getFile", "deleteFile")


def links(pointer: str) -> dict[str, Any]:
    session = {"session_id": "$response.body#/session_id"}
    file = session | {"file_id": f"$response.body#{pointer}"}
    return {name: {"operationId": name, "parameters": file} for name in ON_FILES} | {
        "listFiles": {"operationId": "listFiles", "parameters": session}
    }


def complete(*, result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """drf-spectacular's hook, called when it is done."""
    result["info"]["description"] = DESCRIPTION.read_text()
    result["servers"] = SERVERS
    result["tags"] = TAGS
    operations = [operation for path in result["paths"].values() for operation in path.values()]
    for operation in operations:
        if pointer := FILES_OF.get(operation["operationId"]):
            operation["responses"]["200"]["links"] = links(pointer)
        # Of a type that only the file knows.
        if operation["operationId"] == "download":
            content = operation["responses"]["200"]["content"]
            content["*/*"] = content.pop("application/json")
    result["components"]["responses"] = shared_responses(operations)
    return result


def shared_responses(operations: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What several operations answer is said once, and referred to from each of them."""
    everywhere = [
        (HTTPStatus(int(status)).phrase.title().replace(" ", ""), response)
        for operation in operations
        for status, response in operation["responses"].items()
    ]
    shared: dict[str, Any] = {}
    for phrase, response in everywhere:
        same = [other for _, other in everywhere if other == response]
        if len(same) == 1 or response in shared.values():
            continue
        number = sum(name.rstrip("0123456789") == phrase for name in shared) + 1
        shared[phrase if number == 1 else f"{phrase}{number}"] = response
    for operation in operations:
        for status, response in operation["responses"].items():
            for name, common in shared.items():
                if response == common:
                    operation["responses"][status] = {"$ref": f"#/components/responses/{name}"}
    return shared
