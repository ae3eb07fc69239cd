"""The store as an S3 bucket, of Amazon or of any server that speaks the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.core.files import File
from storages.backends.s3 import S3Storage

from sandbox.errors import SandboxFileNotFound, StoreUnavailable
from sandbox.store.backends import is_key, reporting

# What is larger waits on the disk, and not in memory, for its program or client.
IN_MEMORY_BYTES = 1024 * 1024
# LibreChat waits for a file for five seconds, and for some calls for fifteen.
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 2, 10, 2


@contextmanager
def _translating() -> Iterator[None]:
    try:
        with reporting():
            yield
    except (BotoCoreError, ClientError) as error:
        raise StoreUnavailable(f"The file store failed: {error}") from error


class Bucket:
    """Without keys in the settings it looks for them where every program of Amazon's does: in the
    environment, in ~/.aws, and in the machine's role."""

    def __init__(self, name: str, endpoint: str) -> None:
        self._storage = S3Storage(
            bucket_name=name,
            endpoint_url=endpoint or None,
            region_name=settings.SANDBOX_S3_REGION or None,
            access_key=settings.SANDBOX_S3_ACCESS_KEY_ID or None,
            secret_key=settings.SANDBOX_S3_SECRET_ACCESS_KEY or None,
            location=settings.SANDBOX_S3_PREFIX,
            # A key is used once. Looking first would be a call more for each file.
            file_overwrite=True,
            default_acl=None,
            max_memory_size=IN_MEMORY_BYTES,
            # In the thread of the request, which has a limit of its own.
            transfer_config=TransferConfig(use_threads=False),
            client_config=Config(
                # A server of one's own seldom has a host name for each bucket.
                s3={"addressing_style": "path" if endpoint else "auto"},
                signature_version="s3v4",
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            ),
        )
        self._prefix = f"{self._storage.location.strip('/')}/".lstrip("/")

    def keep(self, source: Path, key: str) -> None:
        with _translating():
            with source.open("rb") as file:
                self._storage.save(key, File(file, name=key))
            source.unlink()

    def open(self, key: str) -> BinaryIO:
        """With all bytes at hand: an answer that has begun cannot be taken back."""
        with _translating():
            try:
                content: BinaryIO = self._storage.open(key, "rb").file
            except FileNotFoundError as error:
                self._must_be_there()
                raise SandboxFileNotFound from error
            return content

    def exists(self, key: str) -> bool:
        with _translating():
            found: bool = self._storage.exists(key)
            if not found:
                self._must_be_there()
            return found

    def delete(self, key: str) -> None:
        with _translating():
            self._storage.delete(key)

    def delete_session(self, session_id: str) -> None:
        with _translating():
            prefix = f"{self._prefix}{session_id[:2]}/{session_id}/"
            self._storage.bucket.objects.filter(Prefix=prefix).delete()

    def kept_before(self, seconds: float) -> Iterator[list[str]]:
        with _translating():
            for page in self._storage.bucket.objects.filter(Prefix=self._prefix).pages():
                old = (each.key for each in page if each.last_modified.timestamp() < seconds)
                keys = (key.removeprefix(self._prefix) for key in old)
                # Without a prefix of our own, much else may be in the bucket.
                yield [key for key in keys if is_key(key)]

    def sweep_directories(self) -> None:
        """There are none."""

    def check(self) -> None:
        with _translating():
            self._must_be_there()

    def _must_be_there(self) -> None:
        """Where the bucket is missing, so seems each file in it; sessions are not to go on without
        their files for that."""
        self._storage.connection.meta.client.head_bucket(Bucket=self._storage.bucket_name)
