"""The snippets of docs/api.md, as they stand there, on the running service."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests import snippets
from tests.service import ROOT, Service

TEXT = (ROOT / "docs" / "api.md").read_text()


@pytest.mark.parametrize("language", snippets.WAYS)
def test_every_snippet_prints_what_is_below_it(
    service: Service, tmp_path: Path, language: str
) -> None:
    snippets.check(TEXT, language, tmp_path, url=service.url, key=service.key)


def test_no_snippet_is_left_out() -> None:
    blocks = re.findall(r"^```(\w+)$", TEXT, re.MULTILINE)
    found = [len(snippets.of(TEXT, language)) for language in snippets.WAYS]
    assert blocks.count("text") == sum(found)
    assert len(blocks) == 2 * blocks.count("text")
    assert min(found) >= 6


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
    snippets.assert_within(json.loads(answer), json.loads(done.stdout))
