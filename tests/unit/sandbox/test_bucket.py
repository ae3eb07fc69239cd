"""The store as a bucket, on an S3 server of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import boto3
import pytest
import time_machine
from moto.server import ThreadedMotoServer
from pytest_django import Settings

from audit.models import SandboxFile
from sandbox import readiness, services, store, store_keeper
from sandbox.errors import SandboxFileNotFound, StoreUnavailable
from sandbox.parts import OK, Part
from sandbox.services import Caller
from sandbox.store.backends import _bucket
from tests.fakes.engine import FakeEngine
from tests.unit.sandbox.helpers import run

NAME, PREFIX = "interpreter", "of/librechat"
SESSION = "abc".ljust(21, "x")
KEY = f"ab/{SESSION}/{'file':x<21}"
OTHER = f"ab/{SESSION}/{'other':x<21}"


@pytest.fixture
def server(settings: Settings) -> Iterator[ThreadedMotoServer]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings.SANDBOX_S3_ENDPOINT = f"http://{host}:{port}"
    settings.SANDBOX_S3_BUCKET, settings.SANDBOX_S3_PREFIX = NAME, PREFIX
    settings.SANDBOX_S3_REGION = "us-east-1"
    settings.SANDBOX_S3_ACCESS_KEY_ID = settings.SANDBOX_S3_SECRET_ACCESS_KEY = "tests"
    _bucket.cache_clear()
    yield server
    _bucket.cache_clear()
    server.stop()


@pytest.fixture
def bucket(server: ThreadedMotoServer, settings: Settings) -> Iterator[Objects]:
    objects = Objects(settings.SANDBOX_S3_ENDPOINT)
    objects.client.create_bucket(Bucket=NAME)
    yield objects
    objects.empty()


class Objects:
    """What somebody else sees in the bucket."""

    def __init__(self, endpoint: str) -> None:
        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="tests",
            aws_secret_access_key="tests",
        )

    def keys(self) -> list[str]:
        listed = self.client.list_objects_v2(Bucket=NAME)
        return [found["Key"] for found in listed.get("Contents", [])]

    def empty(self) -> None:
        for key in self.keys():
            self.client.delete_object(Bucket=NAME, Key=key)
        self.client.delete_bucket(Bucket=NAME)


def kept(data: bytes = b"hello", key: str = KEY) -> store.IncomingFile:
    file = store.IncomingFile()
    file.write(data)
    file.keep(key)
    return file


@pytest.mark.parametrize("size", [0, 5, 20_000_000], ids=["empty", "small", "in parts"])
def test_a_kept_file_is_read_back(bucket: Objects, size: int) -> None:
    kept(bytes(size))
    assert bucket.keys() == [f"{PREFIX}/{KEY}"]
    assert not list(store.incoming_directory().glob("*/*"))
    with store.open_file(KEY) as stream:
        assert stream.read() == bytes(size)


def test_a_discarded_file_leaves_nothing(bucket: Objects) -> None:
    kept().discard()
    assert bucket.keys() == []


def test_files_of_others_and_of_other_sessions_stay(bucket: Objects) -> None:
    bucket.client.put_object(Bucket=NAME, Key="ab/abc/file", Body=b"somebody's")
    for key in (KEY, OTHER, f"ab/{SESSION}d/file"):
        kept(key=key)
    store.delete_file(KEY)
    store.delete_file(KEY)
    store.delete_session(SESSION)
    assert bucket.keys() == ["ab/abc/file", f"{PREFIX}/ab/{SESSION}d/file"]


def test_what_is_missing_is_told_from_a_broken_store(bucket: Objects, settings: Settings) -> None:
    assert not store.exists(KEY)
    with pytest.raises(SandboxFileNotFound):
        store.open_file(KEY)
    settings.SANDBOX_S3_BUCKET = "gone"
    for call in (store.exists, store.open_file):
        with pytest.raises(StoreUnavailable, match="Not Found"):
            call(KEY)
    with pytest.raises(StoreUnavailable, match="does not exist"):
        kept()


def test_a_server_that_is_down_is_reported(bucket: Objects, settings: Settings) -> None:
    settings.SANDBOX_S3_ENDPOINT = "http://127.0.0.1:1"
    with pytest.raises(StoreUnavailable, match="Could not connect"):
        store.exists(KEY)
    with pytest.raises(StoreUnavailable, match="Could not connect"):
        kept()


def test_only_old_bytes_are_expected_to_have_a_row(bucket: Objects) -> None:
    kept()
    assert list(chain.from_iterable(store.kept_long_ago())) == []
    later = datetime.now(UTC) + timedelta(seconds=store.ABANDONED_SECONDS + 2)
    kept(key=OTHER)
    with time_machine.travel(later):
        assert sorted(chain.from_iterable(store.kept_long_ago())) == [KEY, OTHER]


def test_a_sessions_files_live_in_the_bucket(
    bucket: Objects, alice: Caller, fake: FakeEngine
) -> None:
    first = run(alice, "open('a.txt', 'w').write('one'); open('b.txt', 'w').write('two')")
    assert len(bucket.keys()) == 2
    for info in fake.list():
        fake.remove(info.name)
    session_id = first.session.pk
    again = run(alice, "print(open('a.txt').read())", session_id=session_id)
    assert again.verdict.stdout == "one\n"
    file = SandboxFile.objects.get(name="b.txt")
    with services.open_file(file) as stream:
        assert stream.read() == b"two"
    services.delete_file(alice, session_id, file.pk, services.NO_SCOPE)
    assert len(bucket.keys()) == 1
    kept(key=f"{session_id[:2]}/{session_id}/{'orphan':x<21}")
    later = datetime.now(UTC) + timedelta(seconds=store.ABANDONED_SECONDS + 2)
    with time_machine.travel(later, tick=False):
        assert store_keeper.sweep() == 1
    assert len(bucket.keys()) == 1


@pytest.mark.django_db
def test_without_a_prefix_what_others_have_in_the_bucket_is_not_swept(
    bucket: Objects, settings: Settings
) -> None:
    settings.SANDBOX_S3_PREFIX = ""
    _bucket.cache_clear()
    kept()
    others = ["backup.tar", "some/other/thing", f"of/librechat/{KEY}", f"cd/{SESSION}/{'f':x<21}"]
    for key in others:
        bucket.client.put_object(Bucket=NAME, Key=key, Body=b"somebody's")
    later = datetime.now(UTC) + timedelta(seconds=store.ABANDONED_SECONDS + 2)
    with time_machine.travel(later, tick=False):
        assert store_keeper.sweep() == 1
    assert sorted(bucket.keys()) == sorted(others)


def test_a_bucket_that_does_not_answer_is_not_ready(
    bucket: Objects, settings: Settings, store_dir: Path
) -> None:
    assert readiness.ask_store() == {Part.STORE: OK}
    settings.SANDBOX_S3_BUCKET = "gone"
    assert readiness.ask_store() == {Part.STORE: "failing"}
    settings.SANDBOX_S3_BUCKET, settings.SANDBOX_S3_ENDPOINT = NAME, "http://127.0.0.1:1"
    assert readiness.ask_store() == {Part.STORE: "failing"}
