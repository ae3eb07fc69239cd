import pytest

from audit.models import Execution, LimitHit
from sandbox.channel import RunLimits, RunResult
from sandbox.outcome import INCOMPLETE, SENTENCES, decode, failure, judge, left_out, out_of_memory

Status = Execution.Status
LIMITS = RunLimits(
    wall_seconds=30, output_bytes=1000, cpu_seconds=5, open_files=100, file_bytes=1000
)
XCPU = frozenset({"SIGXCPU"})
XFSZ = frozenset({"SIGXFSZ"})


def result(**changes: object) -> RunResult:
    values: dict[str, object] = {
        "exit_code": 0,
        "signal": None,
        "reason": "exit",
        "oom_kills": 0,
        "refused_forks": 0,
        "limit_signals": frozenset(),
        "full": frozenset(),
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
            {"exit_code": None, "signal": "SIGXCPU", "limit_signals": XCPU, "cpu_ms": 5001},
            Status.TIMED_OUT,
            "CPU time limit exceeded",
            137,
            "SIGKILL",
        ),
        # Anybody can send it.
        (
            {"exit_code": None, "signal": "SIGXCPU", "limit_signals": XCPU, "cpu_ms": 10},
            Status.FAILED,
            "Terminated by SIGXCPU",
            152,
            "SIGXCPU",
        ),
        # What ignores the signal is killed a second later.
        (
            {"exit_code": None, "signal": "SIGKILL", "cpu_ms": 6001},
            Status.TIMED_OUT,
            "CPU time limit exceeded",
            137,
            "SIGKILL",
        ),
        # A shell whose child had no time left.
        (
            {"exit_code": 152, "cpu_ms": 5001},
            Status.TIMED_OUT,
            "CPU time limit exceeded",
            137,
            "SIGKILL",
        ),
        ({"exit_code": 152, "cpu_ms": 10}, Status.FAILED, "", 152, ""),
        (
            {"exit_code": 1, "limit_signals": XCPU, "cpu_ms": 5001},
            Status.TIMED_OUT,
            "CPU time limit exceeded",
            137,
            "SIGKILL",
        ),
        ({"limit_signals": XCPU, "cpu_ms": 5001}, Status.SUCCEEDED, "", 0, ""),
        # Many processes, each with less than its own limit.
        ({"exit_code": 1, "cpu_ms": 60_000}, Status.FAILED, "", 1, ""),
        (
            {"exit_code": None, "signal": "SIGXFSZ", "limit_signals": XFSZ},
            Status.FAILED,
            "File size limit exceeded",
            153,
            "SIGXFSZ",
        ),
        (
            {"exit_code": 1, "refused_forks": 3},
            Status.FAILED,
            "Too many processes and threads",
            1,
            "",
        ),
        (
            {"exit_code": 1, "full": frozenset({"tmp_inodes", "workspace_bytes"})},
            Status.FAILED,
            "/mnt/data is full",
            1,
            "",
        ),
        # It coped.
        ({"refused_forks": 3, "full": frozenset({"workspace_bytes"})}, Status.SUCCEEDED, "", 0, ""),
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
    verdict = judge(result(**changes), LIMITS)
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
    assert judge(result(**changes), LIMITS).stderr == stderr


@pytest.mark.parametrize(
    ("changes", "hit"),
    [
        ({}, []),
        ({"reason": "timeout", "signal": "SIGKILL", "exit_code": None}, ["wall_time"]),
        ({"reason": "cancelled", "signal": "SIGKILL", "exit_code": None}, []),
        ({"exit_code": None, "signal": "SIGKILL"}, []),
        ({"exit_code": None, "signal": "SIGKILL", "oom_kills": 1}, ["memory"]),
        ({"exit_code": None, "signal": "SIGKILL", "oom_kills": 1, "cpu_ms": 6001}, ["memory"]),
        ({"oom_kills": 1}, ["memory"]),
        ({"limit_signals": XCPU, "cpu_ms": 4000}, ["cpu_time"]),
        ({"limit_signals": XCPU, "cpu_ms": 2000}, []),
        ({"exit_code": None, "signal": "SIGKILL", "cpu_ms": 5000}, ["cpu_time"]),
        ({"exit_code": None, "signal": "SIGKILL", "cpu_ms": 4000}, []),
        ({"refused_forks": 1}, ["processes"]),
        ({"stdout": b"x", "stdout_bytes": 2}, ["output"]),
        ({"stderr": b"x", "stderr_bytes": 2}, ["output"]),
        ({"limit_signals": XFSZ}, ["file_size"]),
        ({"full": frozenset({"shm_bytes", "tmp_inodes"})}, ["tmp_inodes", "shm_bytes"]),
        (
            {"reason": "timeout", "exit_code": None, "signal": "SIGKILL", "refused_forks": 9},
            ["wall_time", "processes"],
        ),
    ],
)
def test_the_limits_that_were_hit_are_noted_whether_or_not_the_program_coped(
    changes: dict[str, object], hit: list[str]
) -> None:
    assert list(judge(result(**changes), LIMITS).limits_hit) == hit


def test_what_else_went_wrong_is_said_before_what_ended_the_program() -> None:
    verdict = judge(
        result(reason="timeout", exit_code=None, signal="SIGKILL", refused_forks=9), LIMITS
    )
    assert verdict.message == "Time limit exceeded"
    assert verdict.stderr == (
        "\n[sandbox] Too many processes and threads\n\n[sandbox] Time limit exceeded\n"
    )


def test_a_program_that_coped_is_told_nothing_but_what_its_answer_lacks() -> None:
    also_hit = [*left_out(["total_bytes", "max_files", "file_bytes"]), LimitHit.STORED_BYTES]
    assert set(also_hit) == set(INCOMPLETE)
    verdict = judge(result(full=frozenset({"workspace_bytes"})), LIMITS, also_hit)
    assert verdict.status == Status.SUCCEEDED
    assert list(verdict.limits_hit) == ["workspace_bytes", *INCOMPLETE]
    assert verdict.stderr.count("[sandbox]") == 4
    assert "full" not in verdict.stderr
    assert verdict.message == SENTENCES[LimitHit.KEPT_FILES]


def test_every_limit_has_a_sentence() -> None:
    assert SENTENCES.keys() == set(LimitHit) - {LimitHit.OUTPUT}
    assert len(set(SENTENCES.values())) == len(SENTENCES)


def test_a_run_that_never_ended_says_its_limit_too() -> None:
    assert out_of_memory().limits_hit == (LimitHit.MEMORY,)
    full = failure("no room for a.txt", {"workspace_inodes"})
    assert full.limits_hit == (LimitHit.WORKSPACE_INODES,)


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
