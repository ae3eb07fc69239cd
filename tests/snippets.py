"""A document's snippets, each of which has below it what it prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SNIPPET = re.compile(
    r"^```(sh|python|js)\n(.*?)^```\n\n```text\n(.*?)^```\n", re.MULTILINE | re.DOTALL
)
# Printed between two snippets, so that each one's output is known.
END = "--- the snippet has ended ---"
# A language: the file, what prints END, and what runs it.
WAYS: dict[str, tuple[str, str, Sequence[str]]] = {
    "sh": ("snippets.sh", f"echo '{END}'", ("sh", "-eu")),
    "python": ("snippets.py", f"print({END!r})", (sys.executable,)),
    "js": ("snippets.mjs", f"console.log({END!r});", ("node",)),
}


def of(text: str, language: str) -> list[tuple[str, str]]:
    """Each with what it prints, according to the document."""
    return [(code, output) for name, code, output in SNIPPET.findall(text) if name == language]


def check(text: str, language: str, directory: Path, *, url: str, key: str) -> None:
    """Runs those of one language, the next where the one above has ended."""
    name, ending, command = WAYS[language]
    written = of(text, language)
    (directory / name).write_text("\n".join(f"{code}\n{ending}" for code, _ in written))
    done = subprocess.run(
        [*command, name],
        cwd=directory,
        env=os.environ | {"CODE_URL": url, "CODE_KEY": key},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    printed = done.stdout.split(END + "\n")[:-1]
    for (code, output), is_printed in zip(written, printed, strict=True):
        assert re.fullmatch(pattern(output), with_end(is_printed)), (code, is_printed)


def pattern(output: str) -> str:
    """An ellipsis is what differs from time to time, within a line."""
    return ".*".join(re.escape(part) for part in output.split("…"))


def with_end(text: str) -> str:
    """As a terminal shows it, whose next line begins at the margin."""
    return text if text.endswith("\n") else text + "\n"


def assert_within(said: Any, real: Any) -> None:
    """An ellipsis stands for anything."""
    if said == "…":
        return
    if isinstance(said, dict):
        for name, value in said.items():
            if name != "…":
                assert_within(value, real[name])
    elif isinstance(said, list):
        for one, other in zip(said, real, strict=True):
            assert_within(one, other)
    else:
        assert said == real
