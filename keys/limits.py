"""Every limit on what a program may use: one table.

Each is a setting of the server, `SANDBOX_` and the name. A key may have a lower one of the same
name, never a higher one: where a setting was lowered later, the smaller of both counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings

if TYPE_CHECKING:
    from keys.models import APIKey
    from keys.models.credential import Credential

Number = int | float


class Scope(Enum):
    RUN = "Limits of a run"
    CONTAINER = "Limits of a container"


@dataclass(frozen=True, slots=True)
class Limit:
    """A row of the table. Less than `lowest` is of no use to any program."""

    name: str
    number: type[int] | type[float]
    scope: Scope
    unit: str
    lowest: Number
    meaning: str

    @property
    def setting(self) -> str:
        return f"SANDBOX_{self.name.upper()}"

    @property
    def of_server(self) -> Number:
        value: Number = getattr(settings, self.setting)
        return value

    def in_force(self, credential: Credential | None) -> Number:
        own: Number | None = getattr(credential, self.name) if credential else None
        of_server = self.of_server
        return self.number(of_server if own is None else min(own, of_server))

    def refusal(self, value: Number) -> str:
        """Why a key cannot have this value; empty if it can."""
        # Written so that it holds for what is not a number, too.
        if self.lowest <= value <= self.of_server:
            return ""
        return (
            f"From {self.lowest} to {self.of_server} {self.unit}, which is the server's own limit: "
            f"a key may only have less. {self.setting} raises the server's."
        )


def _limit(scope: Scope, unit: str, lowest: Number, meaning: str) -> Any:
    return field(metadata={"scope": scope, "unit": unit, "lowest": lowest, "meaning": meaning})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The table, and what is in force for somebody."""

    cpus: float = _limit(Scope.CONTAINER, "processors", 0.05, "Of one container.")
    memory_mb: int = _limit(
        Scope.CONTAINER,
        "MB",
        128,
        "Memory and swap together; what is in /mnt/data, /tmp and /dev/shm counts as well.",
    )
    pids: int = _limit(
        Scope.CONTAINER,
        "processes",
        16,
        "Threads count as well, and so do some of ours: four, and from a limit of 64 on fourteen.",
    )
    workspace_mb: int = _limit(Scope.CONTAINER, "MB", 1, "Files in /mnt/data.")
    tmp_mb: int = _limit(Scope.CONTAINER, "MB", 4, "Files in /tmp.")
    shm_mb: int = _limit(Scope.CONTAINER, "MB", 1, "Files and shared memory in /dev/shm.")
    inodes: int = _limit(
        Scope.CONTAINER, "files", 100, "Files and directories in each of these three."
    )
    max_run_seconds: float = _limit(
        Scope.RUN, "seconds", 1, "By the clock, also for a request that asks for more."
    )
    cpu_seconds: int = _limit(
        Scope.RUN,
        "seconds",
        1,
        "CPU time of each process; never more than the run's own time by the clock and a second.",
    )
    open_files: int = _limit(
        Scope.RUN,
        "files",
        32,
        "Open at a time in each process. That one was refused more cannot be seen from outside: "
        "the only limit of which no execution says that it was hit.",
    )
    write_mb: int = _limit(Scope.RUN, "MB", 1, "The largest file that a program can write.")
    output_bytes: int = _limit(
        Scope.RUN, "bytes", 1024, "Of each of stdout and stderr; the rest is cut."
    )
    file_mb: int = _limit(Scope.RUN, "MB", 1, "The largest file that is kept after a run.")
    files_mb: int = _limit(Scope.RUN, "MB", 1, "All files that are kept after a run, together.")
    max_session_files: int = _limit(Scope.RUN, "files", 1, "How many are kept after a run.")
    max_output_files: int = _limit(Scope.RUN, "files", 1, "How many new ones an answer lists.")

    @classmethod
    def of(cls, key: APIKey | None = None) -> Self:
        """Of the server, where no key is given."""
        credential = key.credential if key else None
        in_force: dict[str, Any] = {limit.name: limit.in_force(credential) for limit in LIMITS}
        return cls(**in_force)

    def of_container(self) -> str:
        """Those that a container is made with, for comparison and to be read."""
        return " ".join(
            f"{limit.name}={getattr(self, limit.name)}"
            for limit in LIMITS
            if limit.scope == Scope.CONTAINER
        )


# The types are text here, as all annotations of this module.
LIMITS = tuple(
    Limit(name=one.name, number=float if one.type == "float" else int, **one.metadata)
    for one in fields(Limits)
)
BY_NAME = {limit.name: limit for limit in LIMITS}
