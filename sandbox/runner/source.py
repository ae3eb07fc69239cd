"""A program's source: out of its reach while it runs, and beside its files where it expects it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from .directories import FILE, open_workspace
from .languages import Language, source_name
from .layout import Layout

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Where to look for what kind of JavaScript it is.
BEGINNING = 1024 * 1024
CHUNK = 256 * 1024


class Source(NamedTuple):
    path: str
    name: str
    size: int
    sha256: str


def write_source(layout: Layout, language: Language, chunks: Iterator[bytes]) -> Source:
    """Keep the source where programs can only read it. Takes all of `chunks`, also when there is
    no room; then raises OSError."""
    unnamed = f"{layout.code}/new"
    with suppress(FileNotFoundError):
        os.unlink(unnamed)
    digest = hashlib.sha256()
    beginning = b""
    size = 0
    file = os.open(unnamed, NEW_FILE, 0o444)
    try:
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            beginning += chunk[: BEGINNING - len(beginning)]
            view = memoryview(chunk)
            while view:
                view = view[os.write(file, view) :]
    except OSError:
        os.unlink(unnamed)
        for _ in chunks:
            pass
        raise
    finally:
        os.close(file)
    name = source_name(language, beginning)
    path = f"{layout.code}/{name}"
    os.rename(unnamed, path)
    return Source(path, name, size, digest.hexdigest())


def place(layout: Layout, source: Source) -> str | None:
    """Copy the source beside the program's files; the name that was free for it, if there is room.

    A hidden name is the second choice: with the user's own main.py there, `import main` is
    to find that one.
    """
    workspace = open_workspace(layout.workspace)
    try:
        for name in (source.name, f".{source.name}"):
            with suppress(FileExistsError):
                file = os.open(name, NEW_FILE, 0o644, dir_fd=workspace)
                try:
                    _copy(source, file)
                except OSError:
                    os.unlink(name, dir_fd=workspace)
                    return None
                finally:
                    os.close(file)
                return name
    except OSError:
        return None
    finally:
        os.close(workspace)
    return None


def withdraw(layout: Layout, source: Source, name: str) -> None:
    """Take the copy away again, unless the program has made something else of it."""
    workspace = open_workspace(layout.workspace)
    try:
        with suppress(OSError):
            if _is_copy(source, name, workspace):
                os.unlink(name, dir_fd=workspace)
    finally:
        os.close(workspace)


def _copy(source: Source, file: int) -> None:
    original = os.open(source.path, FILE)
    try:
        remaining = source.size
        while remaining:
            remaining -= os.sendfile(file, original, None, remaining)
    finally:
        os.close(original)


def _is_copy(source: Source, name: str, workspace: int) -> bool:
    file = os.open(name, FILE, dir_fd=workspace)
    try:
        if os.fstat(file).st_size != source.size:
            return False
        digest = hashlib.sha256()
        while chunk := os.read(file, CHUNK):
            digest.update(chunk)
        return digest.hexdigest() == source.sha256
    finally:
        os.close(file)
