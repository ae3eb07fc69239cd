"""What a run left in the workspace.

Runs as the sandbox's user only, and only while no program does: so a file that was looked at is
the file that is read. Contents are hashed anew each time, because no time stamp tells of all
changes: tmpfs does not note a write through a shared mapping that was read first.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .directories import open_directory, open_file, open_workspace
from .names import is_safe_name
from .protocol import DATA, MAX_DATA, Control
from .stream import Stream

MAX_SKIPPED_NAMES = 20


class Found(NamedTuple):
    name: str
    size: int
    executable: bool


class Skips:
    def __init__(self) -> None:
        self.reasons: dict[str, int] = {}
        self.names: list[str] = []
        # Of the request, as it names them.
        self.limits: set[str] = set()

    def add(self, reason: str, name: str, limit: str = "") -> None:
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        if limit:
            self.limits.add(limit)
        if len(self.names) < MAX_SKIPPED_NAMES:
            self.names.append(os.fsencode(name).decode(errors="replace")[:MAX_DATA])


class Walk:
    """The regular files below the workspace. Links, sockets, pipes and devices are not output,
    nor is what lies in hidden directories, unless an input does too."""

    def __init__(self, request: Control) -> None:
        self._known: Mapping[str, str] = request["known"]
        self._known_directories = {
            name[:index] for name in self._known for index, char in enumerate(name) if char == "/"
        }
        self._depth: int = request["depth"]
        self._path_bytes: int = request["path_bytes"]
        self.skips = Skips()
        self.found: list[Found] = []

    def directory(self, directory: int, prefix: str = "", depth: int = 1) -> None:
        with os.scandir(directory) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
        for entry in entries:
            name = prefix + entry.name
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                if self._is_acceptable(name):
                    self.found.append(Found(name, status.st_size, bool(status.st_mode & 0o100)))
                else:
                    self.skips.add("path", name)
            elif stat.S_ISDIR(status.st_mode) and not self._is_hidden(entry.name, name):
                self._descend(directory, entry.name, name, depth)

    def _descend(self, parent: int, last: str, name: str, depth: int) -> None:
        directory = open_directory(last, parent)
        try:
            if depth < self._depth and self._is_acceptable(name):
                self.directory(directory, name + "/", depth + 1)
            elif os.listdir(directory):
                self.skips.add("depth" if depth >= self._depth else "path", name)
        finally:
            os.close(directory)

    def _is_acceptable(self, name: str) -> bool:
        return is_safe_name(name) and len(name.encode()) <= self._path_bytes

    def _is_hidden(self, last: str, name: str) -> bool:
        hidden = last.startswith(".") or last == "__pycache__"
        return hidden and name not in self._known_directories


def collect(path: str, request_id: int, request: Control, stream: Stream) -> None:
    """Send what there is, then the bytes of what the other end does not know yet."""
    known: Mapping[str, str] = request["known"]
    workspace = open_workspace(path)
    try:
        walk = Walk(request)
        walk.directory(workspace)
        files = dict(_within_limits(workspace, walk, request))
        answer: Control = {
            "files": [{**file._asdict(), "sha256": digest} for file, digest in files.items()],
            "skipped": {
                "reasons": walk.skips.reasons,
                "names": walk.skips.names,
                "limits": sorted(walk.skips.limits),
            },
            "kept_back": [
                file.name for file in walk.found if file.name in known and file not in files
            ],
        }
        stream.reply(request_id, answer)
        for file, digest in files.items():
            if known.get(file.name) != digest:
                for chunk in _content(workspace, file):
                    stream.send(request_id, DATA, chunk)
    finally:
        os.close(workspace)


def _within_limits(workspace: int, walk: Walk, request: Control) -> Iterator[tuple[Found, str]]:
    """What the other end knows comes first: an input is not to fall out because of new files."""
    room: int = request["total_bytes"]
    places: int = request["max_files"]
    for file in sorted(walk.found, key=lambda file: file.name not in request["known"]):
        if file.size > request["file_bytes"]:
            walk.skips.add("size", file.name, "file_bytes")
        elif file.size > room:
            walk.skips.add("size", file.name, "total_bytes")
        elif not places:
            walk.skips.add("max_files", file.name, "max_files")
        else:
            try:
                digest = _hash(workspace, file)
            except PermissionError:
                walk.skips.add("unreadable", file.name)
            else:
                room -= file.size
                places -= 1
                yield file, digest


def _hash(workspace: int, file: Found) -> str:
    digest = hashlib.sha256()
    for chunk in _content(workspace, file):
        digest.update(chunk)
    return digest.hexdigest()


def _content(workspace: int, found: Found) -> Iterator[bytes]:
    file = open_file(workspace, found.name)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise RuntimeError(f"{found.name!r} became something else")
        remaining = found.size
        while remaining:
            chunk = os.read(file, min(remaining, MAX_DATA))
            if not chunk:
                raise RuntimeError(f"{found.name!r} became shorter")
            remaining -= len(chunk)
            yield chunk
    finally:
        os.close(file)
