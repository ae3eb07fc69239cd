"""What a run's result means: one pure function."""

from __future__ import annotations

from dataclasses import dataclass
from signal import Signals

from audit.models import Execution
from sandbox.channel import RunResult

Status = Execution.Status


@dataclass(frozen=True, slots=True)
class Verdict:
    status: Status
    message: str
    exit_code: int | None
    signal: str
    stdout: str
    stderr: str
    stdout_cut: bool


def failure(message: str) -> Verdict:
    """A run that could not begin for a reason the program's author can mend."""
    return _without_output(Status.FAILED, message, exit_code=1, signal="")


def out_of_memory() -> Verdict:
    return _without_output(Status.OUT_OF_MEMORY, "Out of memory", exit_code=137, signal="SIGKILL")


def _without_output(status: Status, message: str, *, exit_code: int, signal: str) -> Verdict:
    return Verdict(
        status=status,
        message=message,
        exit_code=exit_code,
        signal=signal,
        stdout="",
        stderr=f"\n[sandbox] {message}\n",
        stdout_cut=False,
    )


def judge(result: RunResult) -> Verdict:
    """The verdict rests on the runner's clock, the exit status and the kernel's count of
    out-of-memory kills; never on text, which is the program's to forge."""
    status, message, signal = _ending(result)
    stdout_cut = result.stdout_bytes > len(result.stdout)
    stderr_cut = result.stderr_bytes > len(result.stderr)
    notes = []
    if stderr_cut:
        notes.append(f"stderr truncated at {len(result.stderr)} bytes")
    if stdout_cut:
        notes.append("stdout length exceeded")
        message = message or "stdout length exceeded"
    if status in (Status.TIMED_OUT, Status.OUT_OF_MEMORY, Status.ABORTED) or signal:
        notes.append(message)
    exit_code = result.exit_code
    if signal in Signals.__members__:
        exit_code = 128 + Signals[signal]
    return Verdict(
        status=status,
        message=message,
        exit_code=exit_code,
        signal=signal,
        stdout=decode(result.stdout, cut=stdout_cut),
        stderr=decode(result.stderr, cut=stderr_cut)
        + "".join(f"\n[sandbox] {note}\n" for note in notes),
        stdout_cut=stdout_cut,
    )


def _ending(result: RunResult) -> tuple[Status, str, str]:
    if result.reason == "timeout" or result.signal == "SIGXCPU":
        return Status.TIMED_OUT, "Time limit exceeded", "SIGKILL"
    if result.reason == "cancelled":
        return Status.ABORTED, "Client disconnected", "SIGKILL"
    if result.oom_kills and result.exit_code != 0:
        return Status.OUT_OF_MEMORY, "Out of memory", "SIGKILL"
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
