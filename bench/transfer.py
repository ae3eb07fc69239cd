"""A file's way through the interpreter: uploaded, read and changed by a program, downloaded."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

from bench.cases import CHANGE, TransferCase
from bench.client import CallFailed, Form, Interpreter, check_run, written_file
from bench.progress import Progress
from bench.report import Measured, Transfer
from bench.summary import Times

MB = 1024 * 1024


@dataclass(slots=True)
class Parts:
    total: Times = field(default_factory=Times)
    upload: Times = field(default_factory=Times)
    run: Times = field(default_factory=Times)
    download: Times = field(default_factory=Times)


def measure(
    case: TransferCase, interpreter: Interpreter, *, rounds: int, progress: Progress
) -> Transfer:
    parts = Parts()
    rounds = case.rounds(rounds)
    for number in range(-1, rounds):
        content = os.urandom(case.megabytes * MB)
        form = Form("input.bin", content)
        counted = parts if number >= 0 else Parts(total=Times(errors=parts.total.errors))
        try:
            move(interpreter, form, content, counted)
        except CallFailed as error:
            parts.total.errors[str(error)] += 1
        progress.update(f"{case.name}: round {number + 1} of {rounds}")
    return Transfer(
        case=case.name,
        title=case.title,
        megabytes=case.megabytes,
        total=Measured.of(parts.total),
        upload=Measured.of(parts.upload),
        run=Measured.of(parts.run),
        download=Measured.of(parts.download),
    )


def move(interpreter: Interpreter, form: Form, content: bytes, parts: Parts) -> None:
    started = time.perf_counter()
    uploaded = interpreter.upload(form)
    arrived = time.perf_counter()
    answer = interpreter.execute("py", CHANGE, files=[reference(uploaded)])
    check_run(answer, str(len(content)))
    output = written_file(answer, "output.bin")
    ran = time.perf_counter()
    received = interpreter.download(output.get("session_id") or answer["session_id"], output["id"])
    ended = time.perf_counter()
    if received != bytes([content[0] ^ 255]) + content[1:]:
        raise CallFailed("the downloaded file is not what the program wrote")
    parts.upload.add(arrived - started)
    parts.run.add(ran - arrived)
    parts.download.add(ended - ran)
    parts.total.add(ended - started)


def reference(uploaded: dict[str, object]) -> dict[str, str]:
    """As every LibreChat version understands it, the old and the new ones."""
    session_id = str(uploaded.get("storage_session_id") or uploaded.get("session_id"))
    files = uploaded.get("files")
    if not isinstance(files, list) or not files:
        raise CallFailed("the upload's answer has no files")
    return {
        "id": str(files[0].get("fileId")),
        "name": "input.bin",
        "session_id": session_id,
        "storage_session_id": session_id,
    }
