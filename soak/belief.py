"""What a client knows of one session: the files that must be there.

After a refusal or a lost connection nobody knows whether the run took effect. Then there are two
possible states, and the next run's listing tells which it is. Never anything in between, and never
anything else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from soak.ledger import Wrong
from soak.programs import Files


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that the service has said to have."""

    session_id: str
    file_id: str
    name: str
    sha256: str


@dataclass(slots=True)
class Belief:
    session_id: str = ""
    hint: str = ""
    states: list[Files] = field(default_factory=lambda: [{}])
    # The newest version of each name, where its id is known for sure.
    current: dict[str, Kept] = field(default_factory=dict)
    # Since then it is sure that it lives on for its lifetime.
    used: float = field(default_factory=time.monotonic)

    def confirm(self, fits: Callable[[Files], bool]) -> list[Files]:
        """The possible states that fit what came; to know is to have fewer of them."""
        fitting = [state for state in self.states if fits(state)]
        if not fitting:
            raise Wrong(f"the session's files should have been {self.described()}")
        return fitting

    def certain(self, states: Iterable[Files]) -> None:
        self.states = list({frozenset(state.items()): state for state in states}.values())

    def perhaps(self, changed: Callable[[Files], Files]) -> None:
        """It may or may not have been done."""
        self.certain([*self.states, *map(changed, self.states)])
        self.current = {}

    def described(self) -> str:
        return " or ".join(
            "{" + ", ".join(f"{name} {sha[:8]}" for name, sha in sorted(state.items())) + "}"
            for state in self.states
        )
