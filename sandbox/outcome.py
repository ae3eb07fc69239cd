"""What a run's result means: pure functions.

They rest on the runner's clock, exit statuses, byte counts and the kernel's own counters; never on
text, which is the program's to forge.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from signal import SIGXCPU, Signals

from audit.models import Execution, LimitHit
from sandbox.channel import RunLimits, RunResult

Status = Execution.Status

# What the program cannot say itself. Of output each stream has a sentence of its own.
SENTENCES = {
    LimitHit.WALL_TIME: "Time limit exceeded",
    LimitHit.CPU_TIME: "CPU time limit exceeded",
    LimitHit.MEMORY: "Out of memory",
    LimitHit.PROCESSES: "Too many processes and threads",
    LimitHit.FILE_SIZE: "File size limit exceeded",
    LimitHit.WORKSPACE_BYTES: "/mnt/data is full",
    LimitHit.WORKSPACE_INODES: "Too many files in /mnt/data",
    LimitHit.TMP_BYTES: "/tmp is full",  # noqa: S108 - a sentence
    LimitHit.TMP_INODES: "Too many files in /tmp",
    LimitHit.SHM_BYTES: "/dev/shm is full",  # noqa: S108 - a sentence
    LimitHit.SHM_INODES: "Too many files in /dev/shm",
    LimitHit.KEPT_FILES: "Files are missing from the answer: there are too many",
    LimitHit.KEPT_FILE_SIZE: "A file is missing from the answer: it is too large",
    LimitHit.KEPT_BYTES: "Files are missing from the answer: together they are too large",
    LimitHit.STORED_BYTES: "Files are missing from the answer: the storage quota is used up",
}
STOPPED = "Stopped by an operator"
ABANDONED = "Client disconnected"
# Because of these something is missing from the answer, which is said also when all went well.
INCOMPLETE = (
    LimitHit.KEPT_FILES,
    LimitHit.KEPT_FILE_SIZE,
    LimitHit.KEPT_BYTES,
    LimitHit.STORED_BYTES,
)
LEFT_OUT = {
    "max_files": LimitHit.KEPT_FILES,
    "file_bytes": LimitHit.KEPT_FILE_SIZE,
    "total_bytes": LimitHit.KEPT_BYTES,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    status: Status
    message: str
    exit_code: int | None
    signal: str
    stdout: str
    stderr: str
    stdout_cut: bool
    stderr_cut: bool
    # Our own words, with which stderr ends.
    notes: str
    limits_hit: tuple[LimitHit, ...] = ()


def failure(message: str, limits_hit: Iterable[str] = ()) -> Verdict:
    """A run that could not begin for a reason the program's author can mend."""
    hit = in_order(LimitHit(name) for name in limits_hit)
    return _without_output(Status.FAILED, message, exit_code=1, signal="", limits_hit=hit)


def out_of_memory() -> Verdict:
    message, hit = SENTENCES[LimitHit.MEMORY], (LimitHit.MEMORY,)
    return _without_output(
        Status.OUT_OF_MEMORY, message, exit_code=137, signal="SIGKILL", limits_hit=hit
    )


def stopped() -> Verdict:
    """A run that an operator has stopped while it was waiting."""
    return _without_output(Status.ABORTED, STOPPED, exit_code=137, signal="SIGKILL", limits_hit=())


def _without_output(
    status: Status, message: str, *, exit_code: int, signal: str, limits_hit: tuple[LimitHit, ...]
) -> Verdict:
    notes = f"\n[sandbox] {message}\n"
    return Verdict(
        status=status,
        message=message,
        exit_code=exit_code,
        signal=signal,
        stdout="",
        stderr=notes,
        stdout_cut=False,
        stderr_cut=False,
        notes=notes,
        limits_hit=limits_hit,
    )


def judge(
    result: RunResult,
    limits: RunLimits,
    also_hit: Iterable[LimitHit] = (),
    *,
    is_stopped: bool = False,
) -> Verdict:
    """`also_hit`: what showed only when the run's files were collected. `is_stopped`: that an
    operator, and not its client's leaving, was the reason if it was cancelled.

    A program that came up against a limit and coped with it has succeeded: the limit is noted, and
    nothing is said of it to the caller.
    """
    hit = in_order([*limits_hit(result, limits), *also_hit])
    status, ending, signal = _ending(result, hit, STOPPED if is_stopped else ABANDONED)
    stdout_cut = result.stdout_bytes > len(result.stdout)
    stderr_cut = result.stderr_bytes > len(result.stderr)
    output = ["stdout length exceeded"] if stdout_cut else []
    has_succeeded = status == Status.SUCCEEDED
    others = [
        SENTENCES[one]
        for one in hit
        if one in SENTENCES and SENTENCES[one] != ending
        if one in INCOMPLETE or not has_succeeded
    ]
    notes = [f"stderr truncated at {len(result.stderr)} bytes"] if stderr_cut else []
    notes += [*output, *others, *([ending] if ending else [])]
    said = "".join(f"\n[sandbox] {note}\n" for note in notes)
    exit_code = result.exit_code
    if signal in Signals.__members__:
        exit_code = 128 + Signals[signal]
    return Verdict(
        status=status,
        message=next(iter([*([ending] if ending else []), *output, *others]), ""),
        exit_code=exit_code,
        signal=signal,
        stdout=decode(result.stdout, cut=stdout_cut),
        stderr=decode(result.stderr, cut=stderr_cut) + said,
        stdout_cut=stdout_cut,
        stderr_cut=stderr_cut,
        notes=said,
        limits_hit=hit,
    )


def limits_hit(result: RunResult, limits: RunLimits) -> Set[LimitHit]:
    facts = {
        LimitHit.WALL_TIME: result.reason == "timeout",
        LimitHit.CPU_TIME: _used_up_cpu_time(result, limits.cpu_seconds),
        LimitHit.MEMORY: result.oom_kills > 0,
        LimitHit.PROCESSES: result.refused_forks > 0,
        LimitHit.OUTPUT: result.stdout_bytes > len(result.stdout)
        or result.stderr_bytes > len(result.stderr),
        LimitHit.FILE_SIZE: "SIGXFSZ" in result.limit_signals,
    }
    return {one for one, is_hit in facts.items() if is_hit} | {LimitHit(n) for n in result.full}


def _used_up_cpu_time(result: RunResult, seconds: int) -> bool:
    """The signal alone proves nothing: anybody can send it. Nor does the time alone, which is that
    of all processes. What ignores the signal is killed a second later.

    On many kernels the limit counts ticks, and the report does not: on a busy machine that is a
    fifth less.
    """
    spent = result.cpu_ms / 1000
    if "SIGXCPU" in result.limit_signals or result.exit_code == 128 + SIGXCPU:
        return spent >= seconds * 0.5
    was_killed = result.signal == "SIGKILL" and result.reason == "exit" and not result.oom_kills
    return was_killed and spent >= (seconds + 1) * 0.75


def left_out(limits: Iterable[str]) -> list[LimitHit]:
    """From what the collection says of its limits."""
    return [LEFT_OUT[limit] for limit in limits]


def in_order(hit: Iterable[LimitHit]) -> tuple[LimitHit, ...]:
    every = set(hit)
    return tuple(one for one in LimitHit if one in every)


def _ending(
    result: RunResult, hit: Iterable[LimitHit], why_cancelled: str
) -> tuple[Status, str, str]:
    if result.reason == "timeout":
        return Status.TIMED_OUT, SENTENCES[LimitHit.WALL_TIME], "SIGKILL"
    if result.reason == "cancelled":
        return Status.ABORTED, why_cancelled, "SIGKILL"
    if LimitHit.CPU_TIME in hit and result.exit_code != 0:
        return Status.TIMED_OUT, SENTENCES[LimitHit.CPU_TIME], "SIGKILL"
    if LimitHit.MEMORY in hit and result.exit_code != 0:
        return Status.OUT_OF_MEMORY, SENTENCES[LimitHit.MEMORY], "SIGKILL"
    if result.signal == "SIGXFSZ":
        return Status.FAILED, SENTENCES[LimitHit.FILE_SIZE], result.signal
    if result.signal:
        return Status.FAILED, f"Terminated by {result.signal}", result.signal
    if result.exit_code == 0:
        return Status.SUCCEEDED, "", ""
    return Status.FAILED, "", ""


def decode(data: bytes, *, cut: bool) -> str:
    """Text that JSON can carry. A cut may fall inside a character, which is then left out."""
    if cut:
        for length in range(1, min(4, len(data) + 1)):
            if data[-length] >= 0xC0:
                whole = data[-length:].decode(errors="ignore")
                data = data if whole else data[:-length]
                break
    return data.decode(errors="replace")
