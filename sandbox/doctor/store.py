"""The file store: there, closed to others, written to the disk, with room left."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from sandbox.findings import Finding, fail, ok, warn

MB = 1024 * 1024
SCARCE = 0.1


def check(*, fix: bool) -> Iterator[Finding]:
    directory = Path(settings.SANDBOX_STORE_DIR)
    there = _check_directory(directory, fix=fix)
    yield there
    if directory.is_dir():
        yield _check_writing(directory)
        yield _check_mode(directory, fix=fix)
        yield check_room("store.room", directory, "the file store")
        yield _check_inodes(directory)


def _check_directory(directory: Path, *, fix: bool) -> Finding:
    check = "store.directory"
    if directory.is_dir():
        return ok(check, f"{directory} is there")
    if fix:
        try:
            directory.mkdir(mode=0o700, parents=True)
        except OSError as error:
            return fail(check, f"{directory} cannot be made: {error.strerror}", "Make it by hand.")
        return ok(check, f"{directory} has been made", fixed=True)
    parent = next(path for path in directory.parents if path.exists())
    if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
        text = f"there is no directory {directory} yet"
        return warn(check, text, "The server makes it with the first file, and --fix does now.")
    text = f"there is no directory {directory}, and it cannot be made in {parent}"
    return fail(check, text, f"Make it for uid {os.geteuid()}, or correct SANDBOX_STORE_DIR.")


def _check_writing(directory: Path) -> Finding:
    """Bytes that come back, from a file that was forced to the disk."""
    check, path = "store.write", directory / f".doctor-{secrets.token_hex(8)}"
    content = secrets.token_bytes(64 * 1024)
    try:
        try:
            with path.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _sync_directory(directory)
            came_back = path.read_bytes()
        finally:
            path.unlink(missing_ok=True)
    except OSError as error:
        return fail(
            check,
            f"a file in {directory} cannot be written and synced: {error.strerror}",
            f"Let uid {os.geteuid()} write there, on a disk that is not full, not mounted "
            "read-only, and that knows fsync.",
        )
    if came_back != content:
        return fail(check, "a file came back with other bytes", "Look at the disk: it loses data.")
    return ok(check, "a file was written, synced and read back")


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_mode(directory: Path, *, fix: bool) -> Finding:
    check = "store.mode"
    mode = stat.S_IMODE(directory.stat().st_mode)
    if not mode & stat.S_IRWXO:
        return ok(check, "users' files are closed to others on this machine")
    if fix:
        try:
            directory.chmod(mode & ~stat.S_IRWXO)
        except OSError as error:
            return fail(check, f"chmod: {error.strerror}", f"As its owner: chmod o-rwx {directory}")
        return ok(check, "users' files are closed to others on this machine now", fixed=True)
    return warn(check, "others on this machine can look into it", f"chmod o-rwx {directory}")


def check_room(check: str, directory: Path, what: str) -> Finding:
    """Whether there is some on the disk of a directory; less than one full workspace is none."""
    usage = shutil.disk_usage(directory)
    text = f"{usage.free // MB} MB of {usage.total // MB} are free for {what}"
    if usage.free < settings.SANDBOX_FILES_MB * MB:
        return fail(check, text, "Make room: runs will fail with `File store unavailable`.")
    if usage.free < usage.total * SCARCE and usage.free < 10 * 1024 * MB:
        return warn(check, text, "Make room, or lower SANDBOX_SESSION_HOURS.")
    return ok(check, text)


def _check_inodes(directory: Path) -> Finding:
    check, found = "store.inodes", os.statvfs(directory)
    # Btrfs and others do not count them.
    if not found.f_files:
        return ok(check, "the file system has no limit on files")
    text = f"{found.f_favail} of {found.f_files} inodes are free"
    if found.f_favail < settings.SANDBOX_MAX_SESSION_FILES:
        return fail(check, text, "Remove files, or use a file system with more inodes.")
    return ok(check, text)
