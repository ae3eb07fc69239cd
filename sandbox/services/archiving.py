"""A session's workspace as one zip file, made while it is sent."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from django.utils import timezone

from audit.models import SandboxFile, SandboxInput, SandboxSession
from sandbox import store
from sandbox.errors import SandboxError

CHUNK = 256 * 1024
NOTE = "MISSING FILES.txt"
REGULAR_FILE = 0o100000


class Outgoing(io.RawIOBase):
    """What the zip file's writer has written and nobody has taken yet. It cannot be sought in, so
    that sizes and checksums come after their files."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        self._written += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._written)
        self._written.clear()
        return taken


def workspace_files(session: SandboxSession) -> dict[str, SandboxFile]:
    """What its next run finds there, by the names that it finds them by."""
    inputs = SandboxInput.objects.filter(session=session, file__in=SandboxFile.objects.live())
    files = {entry.name: entry.file for entry in inputs.select_related("file").order_by("pk")}
    own = SandboxFile.objects.current().filter(session=session).order_by("created_at")
    return files | {file.name: file for file in own}


def zipped(files: dict[str, SandboxFile]) -> Iterator[bytes]:
    """Whatever the store has lost or cannot read is named in a note, and the rest is there."""
    out = Outgoing()
    missing: list[str] = []
    names: set[str] = set()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, file in files.items():
            try:
                source = store.open_file(file.store_key)
            except SandboxError as error:
                reason = str(error) or "the file store does not have it"
                missing.append(f"{name}: {reason}")
                continue
            with source:
                yield from _add(archive, out, _entry(name, file, names), source)
        if missing:
            note = zipfile.ZipInfo(unique(NOTE, names), timezone.now().timetuple()[:6])
            archive.writestr(note, "\n".join(missing) + "\n")
    yield out.take()


def _add(
    archive: zipfile.ZipFile, out: Outgoing, entry: zipfile.ZipInfo, source: BinaryIO
) -> Iterator[bytes]:
    with archive.open(entry, "w", force_zip64=True) as target:
        while chunk := source.read(CHUNK):
            target.write(chunk)
            yield out.take()


def _entry(name: str, file: SandboxFile, taken: set[str]) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(unique(safe(name), taken), file.created_at.timetuple()[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.file_size = file.size
    entry.external_attr = (REGULAR_FILE | (0o755 if file.executable else 0o644)) << 16
    return entry


def safe(name: str) -> str:
    """The name, below wherever it is unpacked. Names in the workspace are so already; this holds
    also for a row that somebody else has written."""
    parts = name.replace("\\", "/").replace("\0", "\N{REPLACEMENT CHARACTER}").split("/")
    kept = [part for part in parts if part not in ("", ".", "..")]
    # A drive letter would be a place of its own on Windows.
    if kept and len(kept[0]) > 1 and kept[0][1] == ":":
        kept[0] = kept[0].replace(":", "_", 1)
    return "/".join(kept) or "_"


def unique(name: str, taken: set[str]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name} ({number})"
    taken.add(candidate)
    return candidate
