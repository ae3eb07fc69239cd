"""Calls and their answers, as they are on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import OpenApiExample

SESSION = "n8Wq2-RtYuIoPaSdFgHjK"
OUTPUT = "pL0oK9iJ8uH7yG6tF5rD4"
UPLOAD = "V1StGXR8_Z5jdHi6B-myT"
INPUT = "Zk3pQ0x9aB_7cDeFgHiJ1"
UPLOADED_AT = "2026-11-25T09:41:00.123Z"
CSV = {"size": 5321, "contentType": "text/csv"}


def sent(name: str, value: Mapping[str, Any]) -> OpenApiExample:
    return OpenApiExample(name, dict(value), request_only=True, media_type="application/json")


def answered(name: str, value: Any) -> OpenApiExample:
    return OpenApiExample(name, value, response_only=True, status_codes=["200"])


def location(session_id: str) -> dict[str, str]:
    return {"session_id": session_id, "storage_session_id": session_id}


ENDED_WELL = {"code": 0, "signal": None, "status": None, "message": None}
USED = {"wall_time": 12, "cpu_time": 9, "memory": 9_437_184, "language": "python"}
WRITTEN = {"id": OUTPUT, "name": "answer.txt", "size": 2, "contentType": "text/plain"}

RUN = [
    sent(
        "Run a program",
        {"lang": "py", "code": "print(6 * 7); open('answer.txt', 'w').write('42')"},
    ),
    answered(
        "It has written a file",
        {"session_id": SESSION, "stdout": "42\n", "stderr": ""}
        | {"files": [WRITTEN | location(SESSION)]}
        | ENDED_WELL
        | USED,
    ),
    sent(
        "Go on in its workspace",
        {"lang": "bash", "code": "cat answer.txt", "session_id": SESSION},
    ),
    sent(
        "With an uploaded file",
        {
            "lang": "py",
            "code": "import pandas; print(len(pandas.read_csv('sales.csv')))",
            "files": [{"id": INPUT, "storage_session_id": UPLOAD, "name": "sales.csv"}],
            "timeout": 10_000,
        },
    ),
    answered(
        "An input that is as it was",
        {"session_id": SESSION, "stdout": "120\n", "stderr": ""}
        | {
            "files": [
                {"id": INPUT, "name": "sales.csv", "inherited": True} | location(UPLOAD) | CSV
            ]
        }
        | ENDED_WELL
        | USED,
    ),
    answered(
        "A program that has failed",
        {
            "session_id": SESSION,
            "stdout": "",
            "stderr": "ZeroDivisionError: division by zero\n",
            "files": [],
        }
        | ENDED_WELL
        | {"code": 1}
        | USED,
    ),
    answered(
        "A program that has run for too long",
        {
            "session_id": SESSION,
            "stdout": "",
            "stderr": "\n[sandbox] Time limit exceeded\n",
            "files": [],
            "code": 137,
            "signal": "SIGKILL",
            "status": "TO",
            "message": "Time limit exceeded",
            "limits_hit": ["wall_time"],
        }
        | USED
        | {"wall_time": 30_004},
    ),
]
STORED = {"fileId": INPUT, "id": INPUT, "filename": "sales.csv", "name": "sales.csv", "size": 5321}
UPLOADED = [
    answered("Kept", {"message": "success", "files": [STORED]} | location(UPLOAD)),
]
REFUSED = {"status": "error", "filename": "huge.bin", "error": "File size limit exceeded"}
BATCH_UPLOADED = [
    answered(
        "One of two is too large",
        {
            "message": "partial_success",
            "files": [{"status": "success"} | STORED, REFUSED],
            "succeeded": 1,
            "failed": 1,
        }
        | location(UPLOAD),
    ),
]
BATCH_REFUSED = {
    "message": "error",
    "error": "File size limit exceeded",
    "files": [REFUSED],
    "succeeded": 0,
    "failed": 1,
}
LISTED = {
    "name": f"{UPLOAD}/{INPUT}.csv",
    "id": INPUT,
    "fileId": INPUT,
    "filename": "sales.csv",
    "lastModified": UPLOADED_AT,
    "etag": "9f86d081884c7d659a2feaa0c55ad015",
    "metadata": {
        "content-type": "text/csv",
        "original-filename": "sales.csv",
        "original-filename-encoded": "none",
    },
}
LISTINGS = [
    answered("detail=simple", [f"{UPLOAD}/{INPUT}.csv"]),
    answered("detail=summary or full", [LISTED | location(UPLOAD) | CSV]),
    answered(
        "detail=normalized",
        [
            {
                "id": INPUT,
                "name": "sales.csv",
                "storage_session_id": UPLOAD,
                "lastModified": UPLOADED_AT,
                "read_only": False,
            }
            | CSV
        ],
    ),
]
METADATA = [
    answered(
        "Metadata",
        {
            "name": f"{UPLOAD}/{INPUT}.csv",
            "originalFilename": "sales.csv",
            "lastModified": UPLOADED_AT,
            "etag": "9f86d081884c7d659a2feaa0c55ad015",
            "readOnly": False,
        }
        | CSV,
    ),
]
DELETED = [
    answered(
        "Deleted",
        {"message": "File deleted successfully", "session_id": UPLOAD, "fileId": INPUT},
    ),
]
