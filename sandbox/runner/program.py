"""One program, from its source to how it ended.

A preloaded interpreter, when there is one, takes the place of the exec and of nothing else.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterable
from typing import Any, NamedTuple, NoReturn, Protocol

from .directories import open_workspace
from .languages import Language, environment
from .layout import Layout
from .privileges import (
    SANDBOX_UID,
    ProcessLimits,
    become_sandbox_user,
    belong_to_self,
    limit_self,
    sacrifice_self,
)
from .source import Source, place

# Of a program, for the way to the process that it is to run in.
PARTS = ("layout", "language", "source", "limits")
RESET_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD)


class Leftovers(Exception):
    """Processes of the program cannot be got rid of."""


class Ending:
    """What is known of a program's processes; the wait status is the main one's."""

    def __init__(
        self,
        status: int | None = None,
        cpu_seconds: float = 0.0,
        peak_memory_bytes: int = 0,
        signals: Iterable[int] = (),
    ) -> None:
        self.status = status
        self.cpu_seconds = cpu_seconds
        # Of the largest process.
        self.peak_memory_bytes = peak_memory_bytes
        # The signals that any of them has died of.
        self.signals = set(signals)


class Process(Protocol):
    """A running program with all that it has started."""

    placed: str | None

    def fileno(self) -> int:
        """Readable when something may have ended."""

    def has_ended(self) -> bool:
        """Whether the main process has. Reaps what can be reaped."""

    def end(self) -> Ending:
        """Kill whatever is left, and wait until it is gone; raises `Leftovers`."""


class Command(NamedTuple):
    """What to execute, with which arguments and variables."""

    arguments: list[bytes]
    environment: dict[str, str]


class Program(NamedTuple):
    layout: Layout
    language: Language
    source: Source
    args: list[str]
    limits: ProcessLimits

    def place(self) -> str | None:
        return place(self.layout, self.source) if self.language.beside_files else None

    def command(self, placed: str | None) -> Command:
        arguments = [*self.language.command, placed or self.source.path, *self.args]
        away = self.language.beside_files and placed is None
        return Command(
            [argument.encode(errors="surrogatepass") for argument in arguments],
            environment(self.layout, away_from_files=away),
        )

    def message(self) -> dict[str, Any]:
        parts = {name: getattr(self, name)._asdict() for name in PARTS}
        return {**parts, "args": self.args}


def program_from(values: dict[str, Any]) -> Program:
    """The opposite of `Program.message`."""
    return Program(
        layout=Layout(**values["layout"]),
        language=Language(**values["language"]),
        source=Source(**values["source"]),
        args=values["args"],
        limits=ProcessLimits(**values["limits"]),
    )


def become(
    program: Program, stdout: int, stderr: int, tell: int, uid: int = SANDBOX_UID
) -> Command:
    """Give up everything that a program must not have; what is left to do is the exec, or what
    takes its place. Says through `tell` its pid, once it has come so far, and the source's name
    beside the files, if any."""
    os.setsid()
    for number in RESET_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    os.dup2(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), 0)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    become_sandbox_user(uid)
    belong_to_self()
    sacrifice_self()
    os.fchdir(open_workspace(program.layout.workspace))
    placed = program.place()
    os.write(tell, f"{os.getpid()} {placed or ''}".encode())
    # All of them close at the exec as it is; this is for the one that somebody forgets, and for
    # the program that is not executed.
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    # Last: what was done so far is ours, and may need more.
    limit_self(program.limits)
    return program.command(placed)


def execute(command: Command) -> NoReturn:
    """Become the program. What cannot be executed says so where its output would be."""
    status = 126
    try:
        os.execvpe(  # noqa: S606 - to start programs is what this is for
            command.arguments[0], command.arguments, command.environment
        )
    except FileNotFoundError as error:
        status, reason = 127, error.strerror
    except OSError as error:
        reason = error.strerror
    except ValueError as error:
        # A null byte cannot be part of an argument.
        reason = str(error)
    os.write(2, command.arguments[0] + f": {reason}\n".encode())
    os._exit(status)
