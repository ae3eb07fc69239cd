"""What LibreChat gets to read about files: after uploads, in listings, one by one."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from audit.models import SandboxFile
from sandbox.api.uploads import MAX_FILES, Received
from sandbox.services import UploadResult

Answer = dict[str, Any]

TOO_LARGE = "File size limit exceeded"
EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,16}")


def location(session_id: str) -> Answer:
    return {"session_id": session_id, "storage_session_id": session_id}


def extras(file: SandboxFile) -> Answer:
    return {"size": file.size, "contentType": file.content_type}


def object_name(session_id: str, file: SandboxFile) -> str:
    """Clients look for `sid/fid` at its start, and cut the id out before the first dot."""
    suffix = PurePosixPath(file.name).suffix
    return f"{session_id}/{file.pk}{suffix if EXTENSION.fullmatch(suffix) else ''}"


def timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def etag(file: SandboxFile) -> str:
    return file.sha256[:32]


def listed(session_id: str, file: SandboxFile) -> Answer:
    return (
        {
            "name": object_name(session_id, file),
            "id": file.pk,
            "fileId": file.pk,
            "filename": file.name,
            "lastModified": timestamp(file.created_at),
            "etag": etag(file),
            "metadata": {
                "content-type": file.content_type,
                "original-filename": file.name,
                "original-filename-encoded": "none",
            },
        }
        | location(session_id)
        | extras(file)
    )


def normalized(session_id: str, file: SandboxFile) -> Answer:
    return {
        "id": file.pk,
        "name": file.name,
        "storage_session_id": session_id,
        "lastModified": timestamp(file.created_at),
        "read_only": file.read_only,
    } | extras(file)


DETAILS: dict[str, Callable[[str, SandboxFile], Any]] = {
    "simple": object_name,
    "summary": listed,
    "full": listed,
    "normalized": normalized,
}


def metadata(session_id: str, file: SandboxFile) -> Answer:
    return {
        "name": object_name(session_id, file),
        "originalFilename": file.name,
        "lastModified": timestamp(file.created_at),
        "etag": etag(file),
        "readOnly": file.read_only,
    } | extras(file)


def uploaded(result: UploadResult, received: Received) -> Answer:
    pairs = zip(result.files, received.arrivals, strict=True)
    return {
        "message": "success",
        "files": [stored(file, arrival.filename) for file, arrival in pairs],
    } | location(result.session.pk)


def stored(file: SandboxFile, filename: str) -> Answer:
    """With the name as the client sent it, which it compares with its own."""
    return {
        "fileId": file.pk,
        "filename": filename,
        "id": file.pk,
        "name": file.name,
        "size": file.size,
    }


def batch_uploaded(result: UploadResult | None, received: Received) -> Answer:
    files = iter(result.files if result else [])
    answers = [
        {"status": "error", "filename": arrival.filename, "error": TOO_LARGE}
        if arrival.too_large
        else {"status": "success"} | stored(next(files), arrival.filename)
        for arrival in received.arrivals
    ]
    failed = len(received.arrivals) - len(received.complete)
    answer: Answer = {
        "message": "partial_success" if failed else "success",
        "files": answers,
        "succeeded": len(answers) - failed,
        "failed": failed,
    }
    if received.limit_reached:
        answer |= {"filesLimitReached": True, "maxFiles": MAX_FILES}
    if result is None:
        return answer | {"message": "error", "error": TOO_LARGE}
    return answer | location(result.session.pk)


def deleted(session_id: str, file_id: str) -> Answer:
    return {
        "message": "File deleted successfully",
        "session_id": session_id,
        "fileId": file_id,
    }
