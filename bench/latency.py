"""How long one run takes: the interpreter and `docker exec` in turn, so that whatever else the
machine does hits both."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.cases import LatencyCase
from bench.client import CallFailed, Interpreter, check_run
from bench.engine import PlainContainer
from bench.progress import Progress
from bench.summary import Times

# The first runs fill caches: file pages, the list of fonts, connections to the database.
WARM_UP_ROUNDS = 2
# What either leaves for later, such as removing a process or forking the next, is not to be
# measured as the other's.
REST_SECONDS = 0.1

OneRun = Callable[[LatencyCase, int], None]


class InterpreterRuns:
    """In one session all the time, or in a new one for each run."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter
        self._session_id = ""
        self.continued = True

    def __call__(self, case: LatencyCase, number: int) -> None:
        asked = "" if case.new_session else self._session_id
        answer = self._interpreter.execute(case.language, case.source(number), session_id=asked)
        check_run(answer, case.prints, case.writes)
        if asked and answer.get("session_id") != asked:
            self.continued = False
        self._session_id = str(answer.get("session_id", ""))


def docker_exec_runs(container: PlainContainer) -> OneRun:
    def run(case: LatencyCase, number: int) -> None:
        stdout = container.execute(case.command(number))
        check_run({"stdout": stdout}, case.prints)

    return run


def measure(
    case: LatencyCase,
    ours: OneRun,
    theirs: OneRun | None,
    *,
    rounds: int,
    settle: Callable[[], None],
    begin: Callable[[], None],
    progress: Progress,
) -> tuple[Times, Times]:
    """`settle` is called before each round, `begin` once after those that do not count."""
    our_times, their_times = Times(), Times()
    sides = [(ours, our_times)]
    if theirs:
        sides.append((theirs, their_times))
    for number in range(-WARM_UP_ROUNDS, rounds):
        if number == 0:
            begin()
        settle()
        # Who is first changes, so that neither always runs in the other's wake.
        for run, times in sides if number % 2 == 0 else reversed(sides):
            time.sleep(REST_SECONDS)
            timed(run, case, number, times if number >= 0 else Times(errors=times.errors))
        progress.update(f"{case.name}: round {max(0, number + 1)} of {rounds}{so_far(sides)}")
    return our_times, their_times


def timed(run: OneRun, case: LatencyCase, number: int, times: Times) -> None:
    started = time.perf_counter()
    try:
        run(case, number)
    except CallFailed as error:
        times.errors[str(error)] += 1
    else:
        times.add(time.perf_counter() - started)


def so_far(sides: list[tuple[OneRun, Times]]) -> str:
    last = [times.milliseconds[-1] for _, times in sides if times.milliseconds]
    return ", last " + " / ".join(f"{milliseconds:.0f} ms" for milliseconds in last) if last else ""
