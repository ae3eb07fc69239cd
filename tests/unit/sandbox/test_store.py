import os
import time
from pathlib import Path

import pytest

from sandbox import store
from sandbox.errors import SandboxFileNotFound, StoreUnavailable

KEY = "ab/abc/file"


def incoming(data: bytes = b"hello") -> store.IncomingFile:
    file = store.IncomingFile()
    file.write(data)
    return file


def files(directory: Path) -> list[str]:
    return sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())


def test_a_kept_file_is_read_back_and_nothing_else_is_there(store_dir: Path) -> None:
    file = incoming()
    assert (file.size, file.sha256[:8]) == (5, "2cf24dba")
    file.keep(KEY)
    with store.open_file(KEY) as stream:
        assert stream.read() == b"hello"
    assert files(store_dir) == [KEY]


def test_a_discarded_file_leaves_nothing(store_dir: Path) -> None:
    incoming().discard()
    kept = incoming()
    kept.keep(KEY)
    kept.discard()
    assert files(store_dir) == []


def test_a_missing_file_is_told_from_a_broken_store(store_dir: Path) -> None:
    with pytest.raises(SandboxFileNotFound):
        store.open_file(KEY)
    store_dir.write_bytes(b"not a directory")
    with pytest.raises(StoreUnavailable):
        store.IncomingFile()


def test_a_full_disk_is_reported_as_such(monkeypatch: pytest.MonkeyPatch, store_dir: Path) -> None:
    store_dir.mkdir()
    # A real ENOSPC, from the kernel.
    file = store.IncomingFile()
    file._file.close()
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123
        monkeypatch.setattr(file, "_file", full)
        with pytest.raises(StoreUnavailable, match="No space left"):
            file.write(b"x")


def test_deleting_twice_is_no_error(store_dir: Path) -> None:
    incoming().keep(KEY)
    store.delete_file(KEY)
    store.delete_file(KEY)
    assert files(store_dir) == []


def test_only_old_bytes_count_as_abandoned(store_dir: Path) -> None:
    spooled, kept, fresh = incoming(), incoming(), incoming()
    kept.keep(KEY)
    long_ago = time.time() - store.ABANDONED_SECONDS - 1
    os.utime(spooled._file.name, (long_ago, long_ago))
    os.utime(store_dir / KEY, (long_ago, long_ago))
    assert sorted(path.name for path in store.abandoned()) == sorted(
        [Path(spooled._file.name).name, "file"]
    )
    fresh.discard()
