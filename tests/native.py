"""For tests of what is written in C, in this process and in children of it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

DIRECTORY = Path(__file__).parent.parent / "image" / "python"


def built(source: str, directory: Path) -> ctypes.CDLL:
    """A library of one of the files in image/python."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip(f"NOT tested, there is no gcc: image/python/{source}")
    library = directory / "library.so"
    options = "-std=gnu11 -O1 -g -Wall -Wextra -Werror -shared -fPIC"
    command = [compiler, *options.split(), "-o", str(library), str(DIRECTORY / source)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def in_child(work: Callable[[int], object]) -> bytes:
    """What it writes to the descriptor that it is given."""
    heard, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(heard)
            work(tell)
            status = 0
        except BaseException:  # noqa: BLE001 - the child must not return into pytest
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)
    os.close(tell)
    with os.fdopen(heard, "rb") as file:
        said = file.read()
    assert os.waitpid(pid, 0)[1] == 0
    return said
