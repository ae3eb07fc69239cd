"""One client: a user with sessions, files and a hint, who knows every right answer."""

from __future__ import annotations

import random
import re
import secrets
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.client import Answer, CallFailed, Form, Interpreter
from soak.belief import Belief, Kept
from soak.checking import check_end, check_output, written_files
from soak.ledger import Ledger, Outcome, Wrong, judge_failure
from soak.programs import Files, Language, Program, content, digest

SESSIONS = 3
NAMES = ("a.txt", "b.txt", "c.txt", "d.txt")
MOST_LINES = 2000
# Of what the service remembers a client looks at the newest.
REMEMBERED = 200
AFTER_ERROR_SECONDS = 0.2
HTTP_NOT_FOUND = 404
FIGURE_LINE = re.compile(r"^figure ([0-9a-f]{64})$", re.MULTILINE)
LANGUAGES: Sequence[Language] = ("py", "heredoc", "bash", "js")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """What clients do, by weight, and in which way."""

    actions: Mapping[str, int]
    # Of the programs that go on in a session.
    endings: Mapping[str, int]
    languages: Mapping[str, int]
    longest_pause: float = 0.0
    # After so long a file or an unused session may be gone.
    life_seconds: float = float("inf")


@dataclass(slots=True, kw_only=True)
class Visitor:
    name: str
    interpreter: Interpreter
    ledger: Ledger
    mix: Mix
    rng: random.Random
    sessions: list[Belief] = field(default_factory=list)
    hinted: Belief | None = None
    kept: deque[tuple[float, Kept]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def act(self) -> None:
        """One thing, chosen at random."""
        self._forget_the_old()
        action = self._choose(self.mix.actions)
        began = time.monotonic()
        try:
            getattr(self, action)()
        except CallFailed as error:
            outcome, detail = judge_failure(error)
            self.ledger.note(action, self.name, began, outcome, detail)
            time.sleep(AFTER_ERROR_SECONDS)
        except Wrong as error:
            self.ledger.note(action, self.name, began, Outcome.WRONG, error)

    # --- what it may do ---

    def begin(self) -> None:
        belief = Belief()
        if self._run(belief, self._program(belief)):
            self._add(belief)

    def go_on(self) -> None:
        if not self.sessions:
            return self.begin()
        belief = self.rng.choice(self.sessions)
        return self._run_or_drop(belief, self._program(belief, ending=True))

    def hint(self) -> None:
        self.hinted = self.hinted or Belief(hint=f"{self.name}-{secrets.token_hex(4)}")
        if not self._run(self.hinted, self._program(self.hinted)) and not self.hinted.states:
            self.hinted = None

    def figure(self) -> None:
        belief = Belief()
        if self._run(belief, Program(seed=self._seed(), figure=True)):
            self._add(belief)
            self.fetch_one(self.kept[-1][1])

    def upload(self) -> None:
        """A file goes up, a program reads it and writes another, both come down."""
        began = time.monotonic()
        data = content(self._seed(), self.rng.randint(1, MOST_LINES))
        answer = self.interpreter.upload(Form("input.txt", data))
        try:
            (file,) = answer["files"]
            up = Kept(answer["session_id"], file["id"], file["name"], digest(data))
        except (KeyError, TypeError, ValueError) as error:
            raise Wrong(f"no answer to an upload: {answer}") from error
        self.kept.append((time.monotonic(), up))
        self.ledger.note("upload", self.name, began, Outcome.RIGHT)
        belief = Belief(states=[{up.name: up.sha256}])
        if self._run(belief, self._program(belief, removing=False), refs=[up]):
            self._add(belief)
            self.fetch_one(self.kept[-1][1])
        self.fetch_one(up)

    def fetch(self) -> None:
        if self.kept:
            self.fetch_one(self.rng.choice(self.kept)[1])

    def delete(self) -> None:
        candidates = [belief for belief in self.sessions if belief.current]
        if not candidates:
            return self.begin()
        belief = self.rng.choice(candidates)
        return self._delete(belief, belief.current.pop(self.rng.choice([*belief.current])))

    # --- how ---

    def finds_all_in(self, belief: Belief) -> bool:
        """A run that changes nothing: whether the answer says what is there. If that is wrong, it
        is in the ledger."""
        return self._run(belief, Program(seed=self._seed())) or not belief.states

    def fetch_one(self, kept: Kept) -> None:
        began = time.monotonic()
        data = self.interpreter.download(kept.session_id, kept.file_id)
        if digest(data) != kept.sha256:
            raise Wrong(f"{kept} came with {len(data)} other bytes: {data[:60]!r}")
        self.ledger.note("fetch", self.name, began, Outcome.RIGHT)

    def _run(self, belief: Belief, program: Program, refs: Sequence[Kept] = ()) -> bool:
        began = time.monotonic()
        kind = program.kind
        try:
            answer = self.interpreter.execute(
                program.sent_as,
                program.source(),
                session_id=belief.session_id if not belief.hint else "",
                hint=belief.hint,
                timeout_ms=program.timeout_ms,
                files=[
                    {"id": ref.file_id, "session_id": ref.session_id, "name": ref.name}
                    for ref in refs
                ],
            )
        except CallFailed as error:
            outcome, detail = judge_failure(error)
            self.ledger.note(kind, self.name, began, outcome, detail)
            belief.perhaps(program.after)
            time.sleep(AFTER_ERROR_SECONDS)
            return False
        try:
            self._learn(belief, program, answer)
        except Wrong as error:
            self.ledger.note(
                kind, self.name, began, Outcome.WRONG, f"{belief.session_id or 'new'}: {error}"
            )
            # Nothing more is to be learned from what is wrong already.
            belief.states = []
            return False
        self.ledger.note(kind, self.name, began, Outcome.RIGHT)
        return True

    def _run_or_drop(self, belief: Belief, program: Program) -> None:
        self._run(belief, program)
        if not belief.states:
            self.sessions.remove(belief)

    def _learn(self, belief: Belief, program: Program, answer: Answer) -> None:
        figure = "".join(FIGURE_LINE.findall(str(answer.get("stdout")))[:1])
        fitting = check_output(belief, program, figure, answer)
        check_end(program, answer)
        session_id = str(answer["session_id"])
        if belief.session_id and belief.session_id != session_id:
            raise Wrong(f"the run was in another session, {session_id}")
        belief.session_id, belief.used = session_id, time.monotonic()
        names = written_files(program, answer)
        if program.ending == "timeout" and not answer["stdout"].endswith(program.prints({})):
            # How far it came nobody knows, and so no more of the session.
            belief.states = []
            return
        belief.certain([program.after(state, figure) for state in fitting])
        for name in program.removes:
            belief.current.pop(name, None)
        (state,) = belief.states
        for name, file_id in names.items():
            kept = Kept(session_id, file_id, name, state[name])
            belief.current[name] = kept
            self.kept.append((time.monotonic(), kept))

    def _delete(self, belief: Belief, kept: Kept) -> None:
        def without(state: Files) -> Files:
            return {name: sha for name, sha in state.items() if name != kept.name}

        began = time.monotonic()
        self.kept = deque((each for each in self.kept if each[1] != kept), REMEMBERED)
        try:
            self.interpreter.delete(kept.session_id, kept.file_id)
        except CallFailed:
            belief.perhaps(without)
            raise
        belief.certain(map(without, belief.states))
        try:
            self.interpreter.download(kept.session_id, kept.file_id)
        except CallFailed as error:
            if error.status != HTTP_NOT_FOUND:
                raise
        else:
            raise Wrong(f"{kept} was deleted, and is still there")
        self.ledger.note("delete", self.name, began, Outcome.RIGHT)

    def _program(self, belief: Belief, *, ending: bool = False, removing: bool = True) -> Program:
        names = self.rng.sample(NAMES, self.rng.randint(1, 2))
        # What is there for sure, whichever of the possible states it is.
        sure = set.intersection(*({*state} for state in belief.states)) - {*names}
        chosen = self._choose(self.mix.endings) if ending else "well"
        return Program(
            seed=self._seed(),
            # Only Python is made to end in all these ways.
            language="py" if chosen != "well" else self._choose(self.mix.languages),  # type: ignore[arg-type]
            writes={name: self.rng.randint(1, MOST_LINES) for name in names},
            removes=tuple(sorted(sure)[:1]) if removing and self.rng.random() < 0.2 else (),
            ending=chosen,  # type: ignore[arg-type]
            pause=round(self.rng.uniform(0, self.mix.longest_pause), 2),
        )

    def _choose(self, weights: Mapping[str, int]) -> str:
        return self.rng.choices([*weights], [*weights.values()])[0]

    def _seed(self) -> str:
        return f"{self.name}-{secrets.token_hex(8)}"

    def _add(self, belief: Belief) -> None:
        self.sessions = [*self.sessions, belief][-SESSIONS:]

    def _forget_the_old(self) -> None:
        """Well before the service may."""
        since = time.monotonic() - self.mix.life_seconds / 2
        self.sessions = [belief for belief in self.sessions if belief.used > since]
        if self.hinted and self.hinted.used <= since:
            self.hinted = None
        while self.kept and self.kept[0][0] <= since:
            self.kept.popleft()
