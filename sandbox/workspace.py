"""A session's files: into its container before a run, out of it and into the store after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from django.conf import settings

from audit.models import SandboxContainer, SandboxFile
from keys.limits import Limits
from sandbox import store
from sandbox.answers import MAX_SKIPPED_NAMES
from sandbox.channel import (
    Channel,
    CollectLimits,
    CollectRequest,
    Entry,
    PutFile,
    Skipped,
)
from sandbox.errors import ProtocolError
from sandbox.names import is_safe_name

MB = 1024 * 1024
NOTHING_SKIPPED = Skipped(reasons={}, names=[])

# What a run is to find in its workspace: name to file.
Desired = Mapping[str, SandboxFile]


@dataclass(slots=True)
class Collected:
    """What a run left in its workspace. The changed files are spooled, not yet kept."""

    changed: dict[str, tuple[Entry, store.IncomingFile]] = field(default_factory=dict)
    unchanged: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    skipped: Skipped = NOTHING_SKIPPED
    manifest: dict[str, str] = field(default_factory=dict)
    # Of the unchanged files those that a `chmod` made executable, or no longer so.
    modes: dict[str, bool] = field(default_factory=dict)

    def discard(self) -> None:
        for _, incoming in self.changed.values():
            incoming.discard()

    def leave_out(self, names: Set[str], desired: Desired) -> None:
        """Do not keep these. They are skipped for their size, in the words that clients know; and
        as with what outgrew a limit, the container has its own version and the store the last."""
        for name in names:
            _, incoming = self.changed.pop(name)
            incoming.discard()
            before = desired.get(name)
            if before:
                self.manifest[name] = before.sha256
            else:
                del self.manifest[name]
        reasons = self.skipped.reasons
        self.skipped = replace(
            self.skipped,
            reasons=reasons | {"size": reasons.get("size", 0) + len(names)},
            names=[*self.skipped.names, *sorted(names)][:MAX_SKIPPED_NAMES],
        )


def without_conflicts(desired: Desired) -> dict[str, SandboxFile]:
    """Where one name would be a directory of another, the later one wins."""
    kept: dict[str, SandboxFile] = {}
    for name, file in desired.items():
        parents = {name[:index] for index, char in enumerate(name) if char == "/"}
        for other in [other for other in kept if other in parents or other.startswith(name + "/")]:
            del kept[other]
        kept[name] = file
    return kept


def bring_in(channel: Channel, container: SandboxContainer, desired: Desired) -> list[str]:
    """Make the container's workspace hold what the run is to find; move only what differs.

    Returns the names whose bytes the store has lost: the conversation goes on without them.
    """
    surplus = [name for name in container.manifest if name not in desired]
    if surplus:
        channel.remove(surplus)
    missing = {
        name: file for name, file in desired.items() if container.manifest.get(name) != file.sha256
    }
    lost = [name for name, file in missing.items() if not store.exists(file.store_key)]
    if len(lost) < len(missing):
        channel.put([_put_file(name, file) for name, file in missing.items() if name not in lost])
    return lost


def _put_file(name: str, file: SandboxFile) -> PutFile:
    return PutFile(
        name=name,
        size=file.size,
        executable=file.executable,
        read_only=file.read_only,
        open=lambda: store.open_file(file.store_key),
    )


def changes_from(desired: Desired, limits: Limits) -> CollectRequest:
    """What a run is told to send when it has ended."""
    known = {name: file.sha256 for name, file in desired.items()}
    return CollectRequest(known=known, limits=collect_limits(limits))


def bring_out(channel: Channel, request: CollectRequest, desired: Desired) -> Collected:
    """Take what the run sends of its changes. Sizes and hashes are our own: nothing the container
    says of a file's bytes is believed."""
    collected = Collected()

    @contextmanager
    def sink(entry: Entry) -> Iterator[store.IncomingFile]:
        incoming = store.IncomingFile()
        collected.changed[entry.name] = (entry, incoming)
        yield incoming
        incoming.close()

    try:
        collection = channel.receive_collection(request, sink)
        for entry in collection.entries:
            if not is_safe_name(entry.name):
                raise ProtocolError("The container reported an unsafe file name")
            _sort(entry, desired, collected)
    except BaseException:
        collected.discard()
        raise
    collected.skipped = collection.skipped
    _find_deleted(desired, collection.kept_back, collected)
    return collected


def collect_limits(limits: Limits) -> CollectLimits:
    return CollectLimits(
        max_files=limits.max_session_files,
        file_bytes=limits.file_mb * MB,
        total_bytes=limits.files_mb * MB,
        depth=settings.SANDBOX_MAX_DEPTH,
        path_bytes=settings.SANDBOX_MAX_PATH,
    )


def _sort(entry: Entry, desired: Desired, collected: Collected) -> None:
    collected.manifest[entry.name] = entry.sha256
    before = desired.get(entry.name)
    if before and before.read_only:
        # Changes to it do not count; the manifest says that the next run needs it put back.
        if entry.name in collected.changed:
            collected.changed.pop(entry.name)[1].discard()
        collected.unchanged.add(entry.name)
    elif entry.name not in collected.changed:
        collected.unchanged.add(entry.name)
        if before and before.executable != entry.executable:
            collected.modes[entry.name] = entry.executable


def _find_deleted(desired: Desired, kept_back: Set[str], collected: Collected) -> None:
    for name, file in desired.items():
        if name in collected.unchanged or name in collected.changed:
            continue
        if file.read_only:
            collected.unchanged.add(name)
        elif name in kept_back:
            # It outgrew a limit. The store keeps the last version that did not, and the
            # container its own: as far as the manifest says, they are the same.
            collected.manifest[name] = file.sha256
        else:
            collected.deleted.add(name)
