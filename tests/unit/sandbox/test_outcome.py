import pytest

from audit.models import Execution
from sandbox.channel import RunResult
from sandbox.outcome import decode, judge

Status = Execution.Status


def result(**changes: object) -> RunResult:
    values: dict[str, object] = {
        "exit_code": 0,
        "signal": None,
        "reason": "exit",
        "oom_kills": 0,
        "stdout": b"",
        "stderr": b"",
        "stdout_bytes": 0,
        "stderr_bytes": 0,
        "wall_ms": 1,
        "cpu_ms": 1,
        "peak_memory_bytes": 1,
    }
    return RunResult(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "status", "message", "exit_code", "signal"),
    [
        ({}, Status.SUCCEEDED, "", 0, ""),
        ({"exit_code": 3}, Status.FAILED, "", 3, ""),
        # 137 alone proves nothing: any program can exit with it.
        ({"exit_code": 137}, Status.FAILED, "", 137, ""),
        (
            {"exit_code": None, "signal": "SIGKILL"},
            Status.FAILED,
            "Terminated by SIGKILL",
            137,
            "SIGKILL",
        ),
        (
            {"exit_code": None, "signal": "SIGSEGV"},
            Status.FAILED,
            "Terminated by SIGSEGV",
            139,
            "SIGSEGV",
        ),
        (
            {"exit_code": None, "signal": "SIGKILL", "oom_kills": 1},
            Status.OUT_OF_MEMORY,
            "Out of memory",
            137,
            "SIGKILL",
        ),
        # A shell whose child was killed.
        (
            {"exit_code": 137, "oom_kills": 1},
            Status.OUT_OF_MEMORY,
            "Out of memory",
            137,
            "SIGKILL",
        ),
        # It coped with the loss of a child.
        ({"exit_code": 0, "oom_kills": 1}, Status.SUCCEEDED, "", 0, ""),
        (
            {"exit_code": None, "signal": "SIGKILL", "reason": "timeout", "oom_kills": 1},
            Status.TIMED_OUT,
            "Time limit exceeded",
            137,
            "SIGKILL",
        ),
        (
            {"exit_code": None, "signal": "SIGXCPU"},
            Status.TIMED_OUT,
            "Time limit exceeded",
            137,
            "SIGKILL",
        ),
        (
            {"exit_code": None, "signal": "SIGKILL", "reason": "cancelled"},
            Status.ABORTED,
            "Client disconnected",
            137,
            "SIGKILL",
        ),
        (
            {"stdout": b"aa", "stdout_bytes": 9},
            Status.SUCCEEDED,
            "stdout length exceeded",
            0,
            "",
        ),
    ],
)
def test_the_verdict_follows_from_what_the_runner_measured(
    changes: dict[str, object], status: Status, message: str, exit_code: int, signal: str
) -> None:
    verdict = judge(result(**changes))
    assert (verdict.status, verdict.message) == (status, message)
    assert (verdict.exit_code, verdict.signal) == (exit_code, signal)


@pytest.mark.parametrize(
    ("changes", "stderr"),
    [
        ({"stderr": b"oops\n", "stderr_bytes": 5}, "oops\n"),
        (
            {"reason": "timeout", "signal": "SIGKILL", "exit_code": None},
            "\n[sandbox] Time limit exceeded\n",
        ),
        (
            {
                "stderr": b"x",
                "stderr_bytes": 1,
                "signal": "SIGKILL",
                "exit_code": None,
                "oom_kills": 1,
            },
            "x\n[sandbox] Out of memory\n",
        ),
        (
            {"stdout": b"x", "stdout_bytes": 2},
            "\n[sandbox] stdout length exceeded\n",
        ),
        (
            {"stderr": b"x", "stderr_bytes": 2},
            "x\n[sandbox] stderr truncated at 1 bytes\n",
        ),
    ],
)
def test_stderr_says_what_the_program_cannot_say_itself(
    changes: dict[str, object], stderr: str
) -> None:
    assert judge(result(**changes)).stderr == stderr


@pytest.mark.parametrize(
    ("data", "cut", "text"),
    [
        ("plain €".encode(), False, "plain €"),
        (b"\xff\xfe", False, "\ufffd\ufffd"),
        ("a€".encode()[:-1], True, "a"),
        ("a€".encode()[:-1], False, "a\ufffd"),
        ("a😀".encode()[:-1], True, "a"),
        ("a😀".encode(), True, "a😀"),
        (b"\xc3a", True, "\ufffda"),
        (b"", True, ""),
    ],
)
def test_a_cut_leaves_no_half_character(data: bytes, cut: bool, text: str) -> None:
    assert decode(data, cut=cut) == text
