"""What PID 1 imports is in the memory of every container."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import sandbox

# Each brings along more than all of the runner.
LARGE = {"dataclasses", "inspect", "pathlib", "shutil", "urllib.parse"}


def test_pid_1_imports_nothing_large() -> None:
    directory = Path(sandbox.__file__).parent
    code = "import sys; sys.path[0] = sys.argv[1]; import runner.pid1; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-B", "-c", code, str(directory)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    modules = set(done.stdout.split())
    assert "runner.pid1" in modules
    assert modules & LARGE == set()
