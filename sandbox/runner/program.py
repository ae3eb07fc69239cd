"""One program, from its source to how it ended.

A preloaded interpreter, when there is one, takes the place of the exec and of nothing else.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import NoReturn, Protocol

from .languages import Language, environment
from .layout import Layout
from .source import Source, place


class Leftovers(Exception):
    """Processes of the program cannot be got rid of."""


@dataclass
class Ending:
    """What is known of a program's processes; the wait status is the main one's."""

    status: int | None = None
    cpu_seconds: float = 0.0
    # Of the largest process.
    peak_memory_bytes: int = 0


class Process(Protocol):
    """A running program with all that it has started."""

    placed: str | None

    def fileno(self) -> int:
        """Readable when something may have ended."""

    def has_ended(self) -> bool:
        """Whether the main process has. Reaps what can be reaped."""

    def end(self) -> Ending:
        """Kill whatever is left, and wait until it is gone; raises `Leftovers`."""


@dataclass(frozen=True)
class Command:
    """What to execute, with which arguments and variables."""

    arguments: list[bytes]
    environment: dict[str, str]


@dataclass(frozen=True)
class Program:
    layout: Layout
    language: Language
    source: Source
    args: list[str]
    cpu_seconds: int

    def place(self) -> str | None:
        return place(self.layout, self.source) if self.language.beside_files else None

    def command(self, placed: str | None) -> Command:
        arguments = [*self.language.command, placed or self.source.path, *self.args]
        away = self.language.beside_files and placed is None
        return Command(
            [argument.encode(errors="surrogatepass") for argument in arguments],
            environment(self.layout, away_from_files=away),
        )


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
