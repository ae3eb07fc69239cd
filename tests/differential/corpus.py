"""The programs of the differential test, read from Markdown.

`programs/<group>.md` holds a group. A heading `## name` starts a program, which is the fenced block
below it: `python` is run as `main.py`, `bash` as a script. What else an opening fence can say:

    ```bash falls_through        no interpreter of this program may come from the zygote
    ```bash either_way           whether one does is left to who decides what the zygote serves
    ```python differs="why"      known not to be the same
    ```python args='["a", ""]'   arguments, as JSON
    ```python file=json.py       no program but a file that it finds in its workspace
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
LANGUAGES = {"python": "py", "bash": "bash"}
LOADED_AHEAD = "a trace of what was loaded ahead"
OPTIONS = {"falls_through", "either_way", "differs", "args", "file"}
SECTION = re.compile(r"^## +(?P<name>\S+)\n(?P<body>.*?)(?=^## |\Z)", re.M | re.S)
BLOCK = re.compile(r"^```(?P<info>.+)\n(?P<text>(?:.*\n)*?)```$", re.M)


@dataclass(frozen=True, kw_only=True)
class Program:
    name: str
    language: str
    code: str
    args: tuple[str, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)
    # Whether the zygote is to serve an interpreter of it, or else none; None is either way.
    served: bool | None = True
    # Why it is known not to be the same.
    differs: str = ""


def programs() -> Iterator[Program]:
    for path in sorted(PROGRAMS.glob("*.md")):
        for section in SECTION.finditer(path.read_text()):
            yield _program(f"{path.stem}/{section['name']}", section["body"])


def _program(name: str, body: str) -> Program:
    files: dict[str, bytes] = {}
    found: list[Program] = []
    for block in BLOCK.finditer(body):
        language, *words = shlex.split(block["info"])
        options = dict(word.partition("=")[::2] for word in words)
        if unknown := options.keys() - OPTIONS:
            raise ValueError(f"{name} has options that nobody knows: {unknown}")
        if "file" in options:
            files[options["file"]] = block["text"].encode()
        else:
            found.append(
                Program(
                    name=name,
                    language=LANGUAGES[language],
                    code=block["text"],
                    args=tuple(json.loads(options.get("args", "[]"))),
                    files=files,
                    served=None if "either_way" in options else "falls_through" not in options,
                    differs=options["differs"] or LOADED_AHEAD if "differs" in options else "",
                )
            )
    if len(found) != 1:
        raise ValueError(f"{name} is not one program but {len(found)}")
    return found[0]
