"""What the clients take for right, for refused and for wrong."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from bench.client import Answer, CallFailed, Interpreter
from soak.belief import Belief
from soak.checking import check_end, check_output, written_files
from soak.ledger import Ledger, Outcome, Wrong, judge_failure
from soak.programs import Program, content, digest
from soak.visitor import Mix, Visitor

A, B = digest(b"a"), digest(b"b")
MIX = Mix(actions={"go_on": 1}, endings={"well": 1}, languages={"py": 1})
PROGRAM = Program(seed="seed", writes={"b.txt": 2})
RIGHT: Answer = {
    "session_id": "s1",
    "stdout": f"a.txt {A}\ndone seed\n",
    "stderr": "",
    "code": 0,
    "status": None,
    "files": [{"id": "f1", "name": "b.txt", "session_id": "s1"}],
}


class Scripted(Interpreter):
    """A server that gives this answer to every run."""

    def __init__(self, answer: Callable[[], Answer]) -> None:
        super().__init__("http://localhost", "")
        self._scripted = answer

    def execute(self, *arguments: Any, **options: Any) -> Answer:
        return self._scripted()


def visitor(answer: Callable[[], Answer]) -> Visitor:
    return Visitor(
        name="user",
        interpreter=Scripted(answer),
        ledger=Ledger(),
        mix=MIX,
        rng=random.Random(1),  # noqa: S311 - no secret
    )


def run(answer: Callable[[], Answer]) -> tuple[Belief, list[Outcome]]:
    """What a client with one file believes after the answer, and how it counts it."""
    client, belief = visitor(answer), Belief(session_id="s1", states=[{"a.txt": A}])
    client._run(belief, PROGRAM)
    return belief, [call.outcome for call in client.ledger.calls()]


def refuse(status: int, body: bytes) -> Callable[[], Answer]:
    def execute() -> Answer:
        raise CallFailed(f"HTTP {status}", status=status, body=body)

    return execute


def test_a_right_answer_says_what_there_is_from_now_on() -> None:
    belief, outcomes = run(lambda: RIGHT)
    assert outcomes == [Outcome.RIGHT]
    assert belief.states == [{"a.txt": A, "b.txt": digest(b"seed\nseed\n")}]
    assert belief.current["b.txt"].file_id == "f1"


@pytest.mark.parametrize(
    "change",
    [
        {"stdout": "done seed\n"},
        {"stdout": f"a.txt {B}\ndone seed\n"},
        {"stdout": f"a.txt {A}\nsecret.txt {B}\ndone seed\n"},
        {"stdout": f"a.txt {A}\ndone another\n"},
        {"code": 1},
        {"stderr": "Traceback"},
        {"status": "TO"},
        {"session_id": "s2"},
        {"files": []},
        {"files": [*RIGHT["files"], {"id": "f2", "name": "c.txt", "session_id": "s1"}]},
        {"files": [{"id": "f1", "name": "b.txt", "session_id": "s2"}]},
    ],
    ids=str,
)
def test_anything_else_is_wrong(change: dict[str, Any]) -> None:
    belief, outcomes = run(lambda: RIGHT | change)
    assert outcomes == [Outcome.WRONG]
    assert belief.states == []


def test_after_a_refusal_both_states_are_possible_and_no_third() -> None:
    belief, outcomes = run(refuse(503, b'{"error": "Database unavailable"}'))
    assert outcomes == [Outcome.REFUSED]
    before, after = {"a.txt": A}, {"a.txt": A, "b.txt": digest(content("seed", 2))}
    assert belief.states == [before, after]
    for state in (before, after):
        listed = Program(seed="next").prints(state)
        assert check_output(belief, Program(seed="next"), "", {"stdout": listed}) == [state]
    half = Program(seed="next").prints({"a.txt": A, "b.txt": B})
    with pytest.raises(Wrong, match="should have been"):
        check_output(belief, Program(seed="next"), "", {"stdout": half})


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (0, b"", Outcome.LOST),
        (429, b'{"error": "rate_limited"}', Outcome.REFUSED),
        (500, b'{"error": "Internal server error"}', Outcome.REFUSED),
        (502, b"<html>", Outcome.WRONG),
        (503, b'["error"]', Outcome.WRONG),
        (503, b'{"detail": "x"}', Outcome.WRONG),
        (404, b'{"error": "Session not found"}', Outcome.WRONG),
        (400, b'{"error": "Invalid request"}', Outcome.WRONG),
    ],
)
def test_a_refusal_is_one_that_librechat_can_show(
    status: int, body: bytes, outcome: Outcome
) -> None:
    assert judge_failure(CallFailed("x", status=status, body=body))[0] is outcome


@pytest.mark.parametrize(
    ("ending", "right"),
    [
        ("raise", {"code": 1, "stderr": "ValueError: seed"}),
        ("exit", {"code": 3, "status": None, "stderr": ""}),
        ("timeout", {"status": "TO"}),
        ("flood", {"status": "OL"}),
        ("memory", {"status": "SG"}),
    ],
)
def test_each_ending_has_its_answer_and_no_other(ending: Any, right: Answer) -> None:
    check_end(Program(seed="seed", ending=ending), right)
    with pytest.raises(Wrong, match=ending):
        check_end(Program(seed="seed", ending=ending), {"code": 0, "status": None, "stderr": ""})


def test_a_program_whose_time_was_over_early_is_not_wrong_and_says_nothing_of_its_session() -> None:
    program = Program(seed="seed", ending="timeout", writes={"b.txt": 2})
    client = visitor(lambda: RIGHT | {"stdout": f"a.txt {A}\n", "status": "TO", "files": []})
    belief = Belief(session_id="s1", states=[{"a.txt": A}])
    assert client._run(belief, program)
    assert belief.states == []
    other = Belief(session_id="s1", states=[{"a.txt": B}])
    assert not client._run(other, program)


def test_inputs_are_not_taken_for_written_files() -> None:
    inherited = {"id": "f0", "name": "a.txt", "session_id": "s0", "inherited": True}
    answer = RIGHT | {"files": [inherited, *RIGHT["files"]]}
    assert written_files(PROGRAM, answer) == {"b.txt": "f1"}


def test_what_clients_send_says_whose_it_is() -> None:
    assert json.loads(json.dumps(PROGRAM.writes)) == {"b.txt": 2}
    for language in ("py", "heredoc", "bash", "js"):
        source = Program(seed="seed", language=language, writes={"b.txt": 2}).source()
        assert "seed" in source
        assert "b.txt" in source
