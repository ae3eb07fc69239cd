"""Where the store's bytes are: what each kind of place must do, and which one is in use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO, Protocol

from django.conf import settings

from sandbox.errors import StoreUnavailable


class Backend(Protocol):
    """A key is `<two characters>/<session id>/<file id>`, and the bytes under it never change."""

    def keep(self, source: Path, key: str) -> None:
        """Take over the file `source`; when this returns, its bytes are durable."""

    def open(self, key: str) -> BinaryIO: ...

    def exists(self, key: str) -> bool: ...

    def delete(self, key: str) -> None: ...

    def delete_session(self, session_id: str) -> None: ...

    def kept_before(self, seconds: float) -> Iterator[str]:
        """The keys of what was kept before a time, in seconds since 1970."""

    def sweep_directories(self) -> None: ...


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
