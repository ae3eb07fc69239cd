"""The fake container's processes: the test's own user, no namespaces, no limits but time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from sandbox.runner.chores import Chores
from sandbox.runner.layout import Layout
from sandbox.runner.privileges import ProcessLimits, limit_self
from sandbox.runner.program import Command, Ending, Process, Program
from sandbox.runner.protocol import Control


def layout(root: Path) -> Layout:
    for name in ("data", "code", "tmp", "shm"):
        (root / name).mkdir()
    return Layout(
        workspace=str(root / "data"),
        code=str(root / "code"),
        temporary=str(root / "tmp"),
        shared_memory=str(root / "shm"),
        # The host's own are not to be removed.
        semaphores=str(root / "none"),
        caches=str(root / "none"),
        path=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    )


class FakeSupervisor:
    def __init__(self, chores: Chores) -> None:
        self._chores = chores
        self._process: FakeProcess | None = None

    def warm_up(self, seconds: float) -> bool:
        return True

    @property
    def served(self) -> int:
        return 0

    def await_input(self, descriptor: int) -> None:
        """Whoever reads waits as well."""

    def help(self, task: Control) -> None:
        self._chores.do(task)

    def start(self, program: Program, stdout: int, stderr: int) -> Process:
        placed = program.place()
        command = program.command(placed)
        try:
            popen = _popen(command, program.layout.workspace, stdout, stderr, program.limits)
        except (OSError, ValueError) as error:
            popen = _say_why(command, error, stdout, stderr)
        self._process = FakeProcess(popen, placed)
        return self._process

    def end(self) -> None:
        """What a container's processes suffer when it dies."""
        if self._process:
            self._process.end()


class FakeProcess:
    """A program and its process group; what leaves the group leaves the fake."""

    def __init__(self, popen: subprocess.Popen[bytes], placed: str | None) -> None:
        self.placed = placed
        self._popen = popen
        self._pidfd = os.pidfd_open(popen.pid)
        self._ending = Ending()

    def fileno(self) -> int:
        return self._pidfd

    def has_ended(self) -> bool:
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._popen.pid, flags) is not None

    def end(self) -> Ending:
        if self._ending.status is None:
            with suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)
            _, status, usage = os.wait4(self._popen.pid, 0)
            self._popen.returncode = os.waitstatus_to_exitcode(status)
            os.close(self._pidfd)
            self._ending = Ending(
                status=status,
                cpu_seconds=usage.ru_utime + usage.ru_stime,
                peak_memory_bytes=usage.ru_maxrss * 1024,
                signals={os.WTERMSIG(status)} if os.WIFSIGNALED(status) else set(),
            )
        return self._ending


def _popen(
    command: Command, workspace: str, stdout: int, stderr: int, limits: ProcessLimits | None = None
) -> subprocess.Popen[bytes]:
    # Limits that were set from outside would come after the program's first writes.
    return subprocess.Popen(
        command.arguments,
        cwd=workspace,
        env=command.environment,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        preexec_fn=(lambda: limit_self(limits)) if limits else None,
    )


def _say_why(
    command: Command, error: OSError | ValueError, stdout: int, stderr: int
) -> subprocess.Popen[bytes]:
    """A process that ends as one does whose exec has failed."""
    reason = (error.strerror or "") if isinstance(error, OSError) else str(error)
    status = 127 if isinstance(error, FileNotFoundError) else 126
    script = 'echo "$1: $2" >&2; exit "$3"'
    words = [b"sh", b"-c", script.encode(), b"sh", command.arguments[0], reason.encode()]
    instead = Command([*words, str(status).encode()], command.environment)
    return _popen(instead, "/", stdout, stderr)
