"""The commands that the documents tell their reader to type."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# docs/api.md has nothing but snippets, with what each prints below it: tests/snippets.py runs all.
DOCUMENTS = (
    "README.md", "SECURITY.md", "docs/admin.md", "docs/audit-log.md", "docs/gvisor.md",
    "docs/how-it-works.md", "docs/operating.md",
)  # fmt: skip
SNIPPETS = "docs/api.md"

BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SHELLS = {"sh", "bash", "shell", "console"}
PROMPT = "$ "
# Within a sentence a command is told from the name of a script by what follows it.
IN_A_SENTENCE = re.compile(
    r"`((?:[A-Z_]+=\S+\s+)*"
    r"(?:script/\w+|deploy/\w+|\S*manage\.py|docker\s+compose|openssl|systemctl|aws|git)\s[^`]+)`"
)
MANAGE = re.compile(r"^(?:\S*python\s+)?manage\.py\s")


def of(checkout: Path) -> list[str]:
    """All of them, each once, in the order in which one reads."""
    found = [command for name in DOCUMENTS for command in of_text((checkout / name).read_text())]
    return list(dict.fromkeys(found))


def of_text(text: str) -> list[str]:
    found: dict[int, list[str]] = {}
    for block in BLOCK.finditer(text):
        language, body = block[2], block[3]
        found[block.start()] = list(of_block(body, typed_only=language not in SHELLS))
    # Of the same length, so that what is between the blocks stays where it is.
    sentences = BLOCK.sub(lambda block: " " * len(block[0]), text)
    for span in IN_A_SENTENCE.finditer(sentences):
        found[span.start()] = [normal(" ".join(span[1].split()))]
    return [command for _, commands in sorted(found.items()) for command in commands]


def of_block(body: str, *, typed_only: bool) -> Iterator[str]:
    """Commands may have several lines. Where prompts are shown, all else is what was printed."""
    lines = body.splitlines()
    if typed_only or any(line.startswith(PROMPT) for line in lines):
        lines = [line.removeprefix(PROMPT) for line in lines if line.startswith(PROMPT)]
    command = ""
    for line in lines:
        command += line + "\n"
        if is_whole(command):
            if words(command):
                yield normal(command)
            command = ""
    assert not command, f"a command without an end: {command}"


def is_whole(command: str) -> bool:
    try:
        words(command)
    except ValueError:
        return False
    return not command.endswith("\\\n")


def words(command: str) -> list[str]:
    return shlex.split(command, comments=True)


def normal(command: str) -> str:
    """Without the remark at its end, and `manage.py` as one calls it beside script/server."""
    command = command.strip()
    without_remark = re.sub(r"\s+#\s.*$", "", command)
    with suppress(ValueError):
        # Or it was no remark, but a part of a word in quotes.
        if words(without_remark) == words(command):
            command = without_remark
    return MANAGE.sub("script/manage ", command)


def scripts_named(checkout: Path) -> set[str]:
    """Each script of ours that any document names, whether with arguments or without."""
    texts = ((checkout / name).read_text() for name in (*DOCUMENTS, SNIPPETS))
    return {name for text in texts for name in re.findall(r"\bscript/\w+", text)}
