"""A run of our own, to see that runs work: a small program in a new session, as a user's would be,
that has to give the right answer, and to find it again in the next run.

It takes a container from the pool and removes it afterwards, so that new ones are tried as well.
Its rows, its key's among them, go with it: nobody ran this, and no statistics are to count it. What
one leaves that is killed is removed later: `leftovers`.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from audit.ids import new_id
from audit.models import Execution, Report
from keys.models import APIKey
from keys.models.api_key import CHECK
from keys.quotas import QUOTAS
from sandbox import metrics
from sandbox.claiming import never
from sandbox.errors import AtCapacity, SandboxError
from sandbox.leftovers import clear_away_of
from sandbox.parts import FINE, Part, part_of
from sandbox.services import Caller, Outcome, RunRequest, execute

logger = logging.getLogger(__name__)

# A machine that needs longer than this for it is of no use to anybody.
SECONDS = 30.0
RUN_SECONDS = 10.0
# Of a container's clock and ours. They are the same one, unless the container has a kernel of its
# own.
MAX_SKEW_SECONDS = 5.0

PYTHON = """
import json, time
answer = {first} * {second}
with open("answer.txt", "w") as file:
    file.write(str(answer))
print(json.dumps({{"answer": answer, "time": time.time()}}))
"""
BASH = """
read -r answer < answer.txt || true
echo $((answer - {first} * {second}))
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    part: Part = Part.RUN
    word: str = "ok"
    skew_seconds: float = 0.0

    @property
    def result(self) -> str:
        return self.word if self.word in FINE else "failed"


class WrongAnswer(Exception):
    """The program said something else than it should have."""


def check(is_stopping: Callable[[], bool] = never) -> Verdict:
    """One run, of which the report is written. What is raised is the database's."""
    began = time.monotonic()
    try:
        with own_key() as key:
            skew = run(Caller(key=key), lambda: is_stopping() or time.monotonic() - began > SECONDS)
        word = "ok" if abs(skew) <= MAX_SKEW_SECONDS else "wrong"
        verdict = Verdict(Part.RUN if word == "ok" else Part.CLOCK, word, skew_seconds=skew)
    except AtCapacity:
        # A service that works hard works.
        verdict = Verdict(word="busy")
    except WrongAnswer as error:
        logger.error("the canary's run has gone wrong: %s", error)
        verdict = Verdict(word="wrong")
    except SandboxError as error:
        logger.error("the canary's run has failed: %s: %s", type(error).__name__, error)
        verdict = Verdict(*part_of(error))
    if is_stopping():
        # It was given up, which says nothing of the service.
        return verdict
    seconds = time.monotonic() - began
    metrics.CANARY_RUNS.labels(verdict.result).inc()
    metrics.CANARY_SECONDS.observe(seconds)
    content = {
        "part": verdict.part,
        "word": verdict.word,
        "seconds": round(seconds, 3),
        "skew_seconds": round(verdict.skew_seconds, 3),
    }
    Report.say(Report.Name.CANARY, content)
    return verdict


@contextmanager
def own_key() -> Iterator[APIKey]:
    """Without quotas: the server's are for its users, and one that is used up is no failure."""
    none = {quota.name: 0 for quota in QUOTAS}
    key = APIKey.objects.create(name="Health check", prefix=CHECK + new_id()[:9], **none)
    try:
        yield key
    finally:
        clear_away_of(key)


def run(caller: Caller, is_over: Callable[[], bool]) -> float:
    """How far the container's clock is from ours."""
    first, second = (secrets.randbelow(10**6) + 1 for _ in range(2))
    before = time.time()
    python = RunRequest(
        language="py",
        code=PYTHON.format(first=first, second=second),
        timeout_seconds=RUN_SECONDS,
    )
    outcome = execute(caller, python, abandoned=is_over)
    after = time.time()
    try:
        said = json.loads(succeeded(outcome))
        answer, there = int(said["answer"]), float(said["time"])
    except (ValueError, KeyError, TypeError) as error:
        raise WrongAnswer("The answer in Python cannot be read") from error
    if answer != first * second:
        raise WrongAnswer(f"{first} * {second} is {answer} in Python")
    bash = RunRequest(
        language="bash",
        code=BASH.format(first=first, second=second),
        session_id=outcome.session.pk,
        timeout_seconds=RUN_SECONDS,
    )
    if (rest := succeeded(execute(caller, bash, abandoned=is_over)).strip()) != "0":
        raise WrongAnswer(f"The file of the run before is wrong, {rest[:40]!r} instead of 0")
    return there - min(max(there, before), after)


def succeeded(outcome: Outcome) -> str:
    verdict = outcome.verdict
    if verdict.status != Execution.Status.SUCCEEDED:
        raise WrongAnswer(
            f"The {outcome.execution.language} program ended as {verdict.status}, with"
            f" {verdict.stderr[:200]!r}"
        )
    return verdict.stdout
