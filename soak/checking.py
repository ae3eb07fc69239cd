"""Whether a run's answer is the one to what was asked."""

from __future__ import annotations

from bench.client import Answer
from soak.belief import Belief
from soak.ledger import Wrong
from soak.programs import EXIT_CODE, Files, Program

LONGEST = 400


def check_output(belief: Belief, program: Program, figure: str, answer: Answer) -> list[Files]:
    """The states that the session can have been in; there is one at least."""
    stdout = str(answer.get("stdout"))

    def fits(state: Files) -> bool:
        expected = program.prints(state, figure)
        if program.ending == "timeout":
            # On a busy machine its time may be over before it is.
            return expected.startswith(stdout)
        if program.ending != "flood":
            return stdout == expected
        # As much as the limit lets through.
        return stdout.startswith(expected) and not stdout[len(expected) :].strip("x")

    try:
        return belief.confirm(fits)
    except Wrong as error:
        told = f"code {answer.get('code')}, status {answer.get('status')}"
        raise Wrong(
            f"{program.kind} printed {stdout[:LONGEST]!r}, {told},"
            f" stderr {str(answer.get('stderr'))[:LONGEST]!r}; {error}"
        ) from error


def check_end(program: Program, answer: Answer) -> None:
    code, status, stderr = answer.get("code"), answer.get("status"), str(answer.get("stderr"))
    right = {
        "well": (code, status, stderr) == (0, None, ""),
        "raise": code == 1 and f"ValueError: {program.seed}" in stderr,
        "exit": (code, status, stderr) == (EXIT_CODE, None, ""),
        "timeout": status == "TO",
        "flood": status == "OL",
        "memory": status == "SG",
    }[program.ending]
    if not right:
        raise Wrong(
            f"{program.kind} ended with code {code}, status {status}, stderr {stderr[:LONGEST]!r}"
        )


def written_files(program: Program, answer: Answer) -> dict[str, str]:
    """Name to id of what the answer says was written: no more and no less than was."""
    files = [file for file in answer.get("files") or [] if not file.get("inherited")]
    names = {str(file.get("name")): str(file.get("id")) for file in files}
    some = program.ending == "timeout" and {*names} < program.written
    if not some and ({*names} != program.written or len(files) != len(names)):
        raise Wrong(f"{program.kind} wrote {sorted(program.written)}, the answer names {names}")
    if any(file.get("session_id") != answer.get("session_id") for file in files):
        raise Wrong(f"{program.kind}: its files are said to be in another session: {files}")
    return names
