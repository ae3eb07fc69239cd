"""Every command of the documents is tried somewhere."""

from __future__ import annotations

import ast
import os
from textwrap import dedent

import pytest

from tests.readme import commands
from tests.readme.clone import can_be_run
from tests.readme.elsewhere import ELSEWHERE
from tests.service import ROOT


def test_every_command_is_run_by_the_walk_or_named_with_the_reason_why_not() -> None:
    forgotten = [
        command
        for command in commands.of(ROOT)
        if command not in ELSEWHERE and not can_be_run(command)
    ]
    assert forgotten == [], "run them in clone.py, or say in elsewhere.py what does"


def test_nothing_is_excused_that_is_no_longer_written() -> None:
    assert ELSEWHERE.keys() - commands.of(ROOT) == set()


@pytest.mark.parametrize("test", sorted({e.test for e in ELSEWHERE.values() if e.test}))
def test_the_test_that_has_a_command_instead_exists(test: str) -> None:
    path, _, name = test.partition("::")
    tree = ast.parse((ROOT / path).read_text())
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert name in functions if name else any(each.startswith("test_") for each in functions)


def test_every_script_that_is_named_is_there() -> None:
    named = commands.scripts_named(ROOT)
    assert {"script/server", "script/manage", "script/test"} <= named
    assert [name for name in sorted(named) if not os.access(ROOT / name, os.X_OK)] == []


def test_what_a_document_says_is_found_in_its_order() -> None:
    text = """
        Call `manage.py first --all`, which `script/server` does.

        ```sh
        script/second          # with a remark
        curl -d '{"a":
          1}' \\
          "$URL"
        ```

        1. In a list, `docker
           compose fourth`:

           ```sh
           A='x # y' .venv/bin/python manage.py fifth
           ```

        ```
        $ python manage.py sixth
        what it prints
        ```

        ```json
        {"no": "command"}
        ```
        """
    assert commands.of_text(dedent(text)) == [
        "script/manage first --all",
        "script/second",
        'curl -d \'{"a":\n  1}\' \\\n  "$URL"',
        "docker compose fourth",
        "A='x # y' .venv/bin/python manage.py fifth",
        "script/manage sixth",
    ]
