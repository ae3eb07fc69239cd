"""The file store: the bytes of every `SandboxFile`, under its `store_key`.

They lie in a directory, or in an S3 bucket where `SANDBOX_S3_BUCKET` names one. Whatever the store
cannot do is `StoreUnavailable`, and bytes that it does not have are `SandboxFileNotFound`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import BinaryIO

from sandbox import spool
from sandbox.store.backends import backend
from sandbox.store.incoming import IncomingFile, incoming_directory

__all__ = [
    "ABANDONED_SECONDS",
    "IncomingFile",
    "check",
    "delete_file",
    "delete_session",
    "exists",
    "incoming_directory",
    "kept_long_ago",
    "open_file",
    "sweep_directories",
    "sweep_incoming",
]

# Far longer than it takes from the bytes to their row.
ABANDONED_SECONDS = 3600


def exists(store_key: str) -> bool:
    return backend().exists(store_key)


def open_file(store_key: str) -> BinaryIO:
    return backend().open(store_key)


def delete_file(store_key: str) -> None:
    """No error if it is not there."""
    backend().delete(store_key)


def delete_session(session_id: str) -> None:
    """Every file of the session."""
    backend().delete_session(session_id)


def sweep_incoming() -> int:
    """Remove what killed processes on this host were receiving; how many files that was."""
    return spool.sweep(incoming_directory())


def check() -> None:
    """Raise `StoreUnavailable` if what it is in does not answer."""
    backend().check()


def kept_long_ago() -> Iterator[list[str]]:
    """The keys of kept files that are old enough to have a row, in batches."""
    return backend().kept_before(time.time() - ABANDONED_SECONDS)


def sweep_directories() -> None:
    """Remove what a store may have left of sessions without files."""
    backend().sweep_directories()
