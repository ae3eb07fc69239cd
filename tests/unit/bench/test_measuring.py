from __future__ import annotations

import io
import json

from bench.cases import LATENCY, THROUGHPUT, LatencyCase
from bench.client import CallFailed, Interpreter
from bench.latency import WARM_UP_ROUNDS, InterpreterRuns, measure
from bench.progress import Progress
from bench.throughput import Load
from tests.unit.bench.conftest import Server

PRINT = LATENCY[0]
CONTINUED, NEW = THROUGHPUT


def progress() -> Progress:
    return Progress(io.StringIO(), io.StringIO())


def nothing() -> None:
    pass


def test_both_sides_take_turns_and_the_first_rounds_do_not_count() -> None:
    order: list[str] = []

    def ours(case: LatencyCase, number: int) -> None:
        order.append(f"ours {number}")

    def theirs(case: LatencyCase, number: int) -> None:
        order.append(f"theirs {number}")

    our_times, their_times = measure(
        PRINT,
        ours,
        theirs,
        rounds=2,
        settle=nothing,
        begin=lambda: order.append("begin"),
        progress=progress(),
    )
    assert order[2 * WARM_UP_ROUNDS :] == ["begin", "ours 0", "theirs 0", "theirs 1", "ours 1"]
    assert len(our_times.milliseconds) == len(their_times.milliseconds) == 2


def test_errors_are_counted_in_rounds_that_do_not_count_as_well() -> None:
    def broken(case: LatencyCase, number: int) -> None:
        raise CallFailed("broken")

    our_times, their_times = measure(
        PRINT, broken, None, rounds=3, settle=nothing, begin=nothing, progress=progress()
    )
    assert our_times.errors == {"broken": WARM_UP_ROUNDS + 3}
    assert our_times.milliseconds == their_times.milliseconds == []


def test_a_continued_session_is_the_first_answers(server: Server) -> None:
    runs = InterpreterRuns(Interpreter(f"http://{server.address}", ""))
    runs(PRINT, 0)
    runs(PRINT, 1)
    assert [json.loads(body).get("session_id") for body in server.bodies] == [None, "s1"]
    assert runs.continued
    server.answer = server.answer.replace(b"s1", b"s2")
    runs(PRINT, 2)
    assert not runs.continued


def test_a_load_counts_every_run_and_its_clients_continue_their_sessions(server: Server) -> None:
    load = Load(CONTINUED, Interpreter(f"http://{server.address}", ""))
    seconds = load.run(0.3, progress())
    assert seconds >= 0.3
    sessions = [json.loads(body).get("session_id") for body in server.bodies]
    assert sessions.count(None) == CONTINUED.clients
    assert sessions.count("s1") == len(load.times.milliseconds) > 0
    assert load.times.failed == 0


def test_a_load_of_new_sessions_never_names_one(server: Server) -> None:
    load = Load(NEW, Interpreter(f"http://{server.address}", ""))
    load.run(0.2, progress())
    assert len(server.bodies) == len(load.times.milliseconds) > 0
    assert not any("session_id" in json.loads(body) for body in server.bodies)


def test_a_load_that_is_refused_is_nothing_but_errors(server: Server) -> None:
    server.status = 503
    load = Load(NEW, Interpreter(f"http://{server.address}", ""))
    load.run(0.1, progress())
    assert load.times.milliseconds == []
    assert load.times.failed == len(server.bodies) > 0
