"""What is said of a program is looked at, under gVisor as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.attacks import programs
from tests.attacks.attack import GaveWay
from tests.attacks.programs import Script

ATTACK = """
## some_attack

Tries something.

```python
print("got it")
```

```gvisor may_print='got (it|that)'
It is its own.
```

```bash ends=TO
sleep 600
```

```gvisor ends=SG
The container ends.
```
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    return parsed(ATTACK, tmp_path, monkeypatch)


def parsed(text: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    monkeypatch.setattr(programs, "PROGRAMS", directory)
    (directory / "some.md").write_text(text)
    [script] = programs.scripts("some")
    return script


def answer(stdout: str = "", *, code: int = 0, status: str | None = None) -> dict[str, Any]:
    return {"stdout": stdout, "stderr": "", "code": code, "status": status, "files": []}


def test_elsewhere_nothing_else_holds(script: Script) -> None:
    printing, sleeping = script.programs
    printing.check(answer())
    with pytest.raises(GaveWay, match="it got through"):
        printing.check(answer("got it\n"))
    sleeping.check(answer(status="TO", code=137))
    with pytest.raises(GaveWay, match="it ended otherwise"):
        sleeping.check(answer(status="SG", code=137))


def test_under_gvisor_it_may_print_what_is_harmless_and_no_more(script: Script) -> None:
    printing, _ = script.programs
    for stdout in ("", "got it\n", "got that\ngot it\n"):
        printing.check(answer(stdout), under_gvisor=True)
    for stdout in ("got them\n", "got it\ngot it all\n", "\n"):
        with pytest.raises(GaveWay, match="it got through"):
            printing.check(answer(stdout), under_gvisor=True)
    with pytest.raises(GaveWay, match="it ended otherwise"):
        printing.check(answer("got it\n", code=1), under_gvisor=True)


def test_under_gvisor_it_ends_as_it_is_said_for_there(script: Script) -> None:
    _, sleeping = script.programs
    sleeping.check(answer(status="SG", code=137), under_gvisor=True)
    with pytest.raises(GaveWay, match="it ended otherwise"):
        sleeping.check(answer(status="TO", code=137), under_gvisor=True)


@pytest.mark.parametrize(
    ("there", "complaint"),
    [
        ("```gvisor ends=SG\n```\n", "why"),
        ("```gvisor\nBecause.\n```\n", "why"),
        ("```gvisor skip=yes\nBecause.\n```\n", "nobody knows"),
    ],
)
def test_what_is_otherwise_there_has_a_reason(
    there: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"## some_attack\n\nTries something.\n\n```python\npass\n```\n\n{there}"
    with pytest.raises(ValueError, match=complaint):
        parsed(text, tmp_path, monkeypatch)
