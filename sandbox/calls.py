"""The call of the API that this thread answers just now: what is logged and counted of it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audit.models import Execution
    from keys.models import APIKey


@dataclass(slots=True)
class Call:
    """What is known of it, as it becomes known. No code, no output, no name of a file."""

    id: str
    # Its public first part.
    key: str = ""
    session: str = ""
    execution: Execution | None = None

    def fields(self) -> dict[str, str]:
        """For each line that is logged meanwhile."""
        known = {"request_id": self.id, "key": self.key, "session": self.session}
        if self.execution is not None:
            # Its session is assigned a moment after it is made.
            known["session"] = self.execution.session_id or self.session
            known["execution"] = self.execution.pk
        return {name: value for name, value in known.items() if value}


current: ContextVar[Call | None] = ContextVar("call", default=None)


def note_key(key: APIKey | None) -> None:
    if key is not None and (call := current.get()):
        call.key = key.prefix


def note_session(session_id: str) -> None:
    if call := current.get():
        call.session = session_id


def note_execution(execution: Execution) -> None:
    if call := current.get():
        call.execution = execution
