"""sys.stdin, stdout and stderr of a program."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO


def open_streams(*, buffered: bool) -> None:
    """The interpreter's own are those of the zygote."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _open_stream(descriptor, name, buffered=buffered)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _open_stream(descriptor: int, name: str, *, buffered: bool) -> TextIO | None:
    """As the interpreter's start does it; OSError where that gives up."""
    try:
        size = os.fstat(descriptor).st_blksize
    except OSError:
        return None
    zygotes: Any = getattr(sys, f"__{name}__")
    writes = descriptor > 0
    raw: Any = io.FileIO(descriptor, "wb" if writes else "rb", closefd=False)
    binary: Any = raw
    if buffered or not writes:
        buffer = io.BufferedWriter if writes else io.BufferedReader
        binary = buffer(raw, size if size > 1 else io.DEFAULT_BUFFER_SIZE)
    raw.name = f"<{name}>"
    text: Any = io.TextIOWrapper(
        binary,
        encoding=zygotes.encoding,
        errors=zygotes.errors,
        newline="\n",
        line_buffering=buffered and (raw.isatty() or name == "stderr"),
        write_through=not buffered,
    )
    text.mode = "w" if writes else "r"
    stream: TextIO = text
    return stream
