"""The snippets of docs/api.md, as they stand there, on the running service."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.service import Service

ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = (ROOT / "docs" / "api.md").read_text()
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


def snippets(language: str) -> list[tuple[str, str]]:
    """Each with what it prints, according to the document."""
    return [(code, output) for name, code, output in SNIPPET.findall(TEXT) if name == language]


def pattern(output: str) -> str:
    """An ellipsis is what differs from time to time, within a line."""
    return ".*".join(re.escape(part) for part in output.split("…"))


@pytest.mark.parametrize("language", WAYS)
def test_every_snippet_prints_what_is_below_it(
    service: Service, tmp_path: Path, language: str
) -> None:
    name, ending, command = WAYS[language]
    written = snippets(language)
    (tmp_path / name).write_text("\n".join(f"{code}\n{ending}" for code, _ in written))
    done = subprocess.run(
        [*command, name],
        cwd=tmp_path,
        env=os.environ | {"CODE_URL": service.url, "CODE_KEY": service.key},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    printed = done.stdout.split(END + "\n")[:-1]
    for (code, output), is_printed in zip(written, printed, strict=True):
        assert re.fullmatch(pattern(output), with_end(is_printed)), (code, is_printed)


def with_end(text: str) -> str:
    """As a terminal shows it, whose next line begins at the margin."""
    return text if text.endswith("\n") else text + "\n"


def test_no_snippet_is_left_out() -> None:
    blocks = re.findall(r"^```(\w+)$", TEXT, re.MULTILINE)
    assert blocks.count("text") == sum(len(snippets(language)) for language in WAYS)
    assert len(blocks) == 2 * blocks.count("text")
    assert all(len(snippets(language)) >= 6 for language in WAYS)


def test_the_readme_s_call_is_answered_as_it_says(service: Service) -> None:
    section = (ROOT / "README.md").read_text().split("## Calls by hand", 1)[1]
    [(call, answer)] = re.findall(
        r"```sh\n(.*?)```\n\nanswers\n\n```json\n(.*?)```", section, re.DOTALL
    )
    done = subprocess.run(
        ["sh", "-eu", "-c", call],
        env=os.environ | {"CODE_URL": service.url, "CODE_KEY": service.key},
        capture_output=True,
        text=True,
        check=True,
    )
    assert_within(json.loads(answer), json.loads(done.stdout))


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
