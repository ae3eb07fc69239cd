"""Where the store's bytes are: what each kind of place must do, and which one is in use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO, Protocol

from django.conf import settings

from audit.ids import is_id
from sandbox.errors import StoreUnavailable


class Backend(Protocol):
    """A key is `<two characters>/<session id>/<file id>`, and the bytes under it never change."""

    def keep(self, source: Path, key: str) -> None:
        """Take over the file `source`; when this returns, its bytes are durable."""

    def open(self, key: str) -> BinaryIO: ...

    def exists(self, key: str) -> bool: ...

    def delete(self, key: str) -> None: ...

    def delete_session(self, session_id: str) -> None: ...

    def kept_before(self, seconds: float) -> Iterator[list[str]]:
        """The keys of what was kept before a time, in seconds since 1970. In batches, of which
        some may be empty, so that who goes through them can stop and go on."""

    def sweep_directories(self) -> None: ...

    def check(self) -> None:
        """Whether it answers, with as little as shows that."""


def is_key(text: str) -> bool:
    """Anything else in the place is not ours."""
    match text.split("/"):
        case [prefix, session_id, file_id]:
            return prefix == session_id[:2] and is_id(session_id) and is_id(file_id)
        case _:
            return False


@contextmanager
def reporting() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"The file store failed: {error.strerror or error}") from error


def backend() -> Backend:
    if settings.SANDBOX_S3_BUCKET:
        return _bucket(settings.SANDBOX_S3_BUCKET, settings.SANDBOX_S3_ENDPOINT)
    from sandbox.store.local import LocalStore

    return LocalStore(Path(settings.SANDBOX_STORE_DIR))


@cache
def _bucket(name: str, endpoint: str) -> Backend:
    """One for the process: connections are kept in it. What it needs is loaded only here."""
    from sandbox.store.bucket import Bucket

    return Bucket(name, endpoint)
