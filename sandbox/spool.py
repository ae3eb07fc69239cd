"""Where bytes lie until they are whole: a directory for each process that receives any.

The process holds a lock on it for as long as it lives. So what a killed one left is known at once,
and nothing that is still being received is ever taken for it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from audit.ids import new_id


@dataclass(frozen=True, slots=True)
class _Held:
    parent: Path
    path: Path
    descriptor: int
    pid: int


_mutex = threading.Lock()
_held: _Held | None = None


def directory(parent: Path) -> Path:
    """This process's own below `parent`."""
    global _held
    with _mutex:
        held = _held
        # After a fork it is the other process's; and somebody may have emptied the store.
        if held and held.pid == os.getpid():
            if held.parent == parent and held.path.is_dir():
                return held.path
            _held = None
            os.close(held.descriptor)
        _held = _hold(parent)
        return _held.path


def _hold(parent: Path) -> _Held:
    while True:
        path = parent / new_id()
        path.mkdir(parents=True)
        # A sweep may come in between as long as nobody holds it.
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if path.is_dir():
                return _Held(parent, path, descriptor, os.getpid())
            os.close(descriptor)


def sweep(parent: Path) -> int:
    """Remove what dead processes left; how many files that was."""
    swept = 0
    with suppress(FileNotFoundError):
        for path in list(parent.iterdir()):
            with suppress(OSError), _locked(path):
                swept += len(list(path.iterdir()))
                shutil.rmtree(path)
    return swept


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
