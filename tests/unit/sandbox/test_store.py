import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import pytest

from sandbox import spool, store
from sandbox.errors import SandboxFileNotFound, StoreUnavailable

SESSION, OTHER = "abc".ljust(21, "x"), "abd".ljust(21, "x")
KEY = f"ab/{SESSION}/{'file':x<21}"
FRESH = f"ab/{SESSION}/{'fresh':x<21}"


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


def test_only_old_bytes_are_expected_to_have_a_row(store_dir: Path) -> None:
    incoming().keep(KEY)
    incoming().keep(FRESH)
    spooled = incoming()
    long_ago = time.time() - store.ABANDONED_SECONDS - 1
    for name in (store_dir / KEY, spooled._file.name):
        os.utime(name, (long_ago, long_ago))
    assert list(chain.from_iterable(store.kept_long_ago())) == [KEY]
    spooled.discard()


RECEIVE = """
import sys, time
from pathlib import Path
from sandbox import spool
(spool.directory(Path(sys.argv[1])) / "half").write_text("half")
print("there", flush=True)
time.sleep(60)
"""


def test_what_others_have_in_the_directory_is_no_kept_file(store_dir: Path) -> None:
    others = ["a", "ab/b", "ab/abc/c", f"cd/{SESSION}/{'d':x<21}", f"ab/{SESSION}/e"]
    others.append(f"ab/{SESSION}/{'f':x<21}/{'g':x<21}")
    incoming().keep(KEY)
    for name in others:
        path = store_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (store_dir / "cd/empty").mkdir()
    long_ago = time.time() - store.ABANDONED_SECONDS - 1
    for name in (KEY, *others):
        os.utime(store_dir / name, (long_ago, long_ago))
    assert list(chain.from_iterable(store.kept_long_ago())) == [KEY]
    store.sweep_directories()
    assert (store_dir / "cd/empty").exists()


def test_what_a_killed_process_was_receiving_is_swept_and_nothing_else(store_dir: Path) -> None:
    mine = incoming()
    command = [sys.executable, "-c", RECEIVE, str(store.incoming_directory())]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"there\n"
        assert store.sweep_incoming() == 0
        other.kill()
    assert store.sweep_incoming() == 1
    mine.keep(KEY)
    assert files(store_dir) == [KEY]


def test_a_store_that_was_emptied_is_used_again(store_dir: Path) -> None:
    incoming().discard()
    shutil.rmtree(store_dir)
    incoming().keep(KEY)
    assert files(store_dir) == [KEY]


@contextmanager
def meanwhile(action: Callable[[], object]) -> Iterator[None]:
    """Again and again, in another thread."""
    stop = threading.Event()

    def act() -> None:
        while not stop.is_set():
            action()

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_session_without_files_leaves_no_directory(store_dir: Path) -> None:
    incoming().keep(KEY)
    incoming().keep(f"ab/{OTHER}/file")
    store.delete_file(KEY)
    (spooled := incoming()).close()
    store.sweep_directories()
    assert not (store_dir / KEY).parent.exists()
    assert (store_dir / f"ab/{OTHER}/file").read_bytes() == b"hello"
    spooled.keep(KEY)
    assert (store_dir / KEY).exists()


def test_a_directory_that_is_swept_from_under_a_file_is_made_again(store_dir: Path) -> None:
    with meanwhile(store.sweep_directories):
        for number in range(300):
            incoming().keep(f"ab/ab{number:019}/file")
    assert len(files(store_dir)) == 300


def test_a_look_through_the_store_puts_up_with_what_is_deleted_meanwhile(store_dir: Path) -> None:
    sessions = [f"ab{number:019}" for number in range(50)]

    def come_and_go() -> None:
        for session_id in sessions:
            incoming().keep(f"ab/{session_id}/{session_id}")
        for session_id in sessions:
            store.delete_session(session_id)

    with meanwhile(come_and_go):
        for _ in range(200):
            assert list(chain.from_iterable(store.kept_long_ago())) == []


def test_a_directory_that_is_swept_before_it_is_held_is_made_again(
    store_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def sweep_first(path: Path, *arguments: int) -> int:
        monkeypatch.undo()
        path.rmdir()
        return opened(path, *arguments)

    monkeypatch.setattr(os, "open", sweep_first)
    held = spool._hold(store_dir)
    os.close(held.descriptor)
    assert [*store_dir.iterdir()] == [held.path]
