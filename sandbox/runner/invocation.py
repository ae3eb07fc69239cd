"""One call of `python3`: of a run, or by the image's client in a shell."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import MAGIC_NUMBER

from .requests import COMMAND, MODULE, SCRIPT, Situation


@dataclass(frozen=True, kw_only=True)
class Invocation:
    arguments: list[str]
    environment: Mapping[bytes, bytes]
    kind: str
    program: str
    argv: list[str]
    # The process of the image's `python3`; 0 for a run's own program.
    client: int = 0
    unbuffered: bool = False


def invocation_of(situation: Situation, client: int) -> Invocation:
    arguments = [os.fsdecode(argument) for argument in situation.arguments]
    rest = arguments[situation.first + 1 :]
    program, kind = "", "stdin"
    if situation.kind == COMMAND:
        # The interpreter adds the newline as well.
        kind, program = "command", arguments[situation.first][situation.offset :] + "\n"
        argv = ["-c", *rest]
    elif situation.kind == MODULE:
        kind, program = "module", arguments[situation.first][situation.offset :]
        argv = ["-m", *rest]
    elif situation.kind == SCRIPT:
        argv = [arguments[situation.first], *rest]
        program = absolute(argv[0])
        kind = kind_of_file(program)
    else:
        argv = arguments[situation.first :] or [""]
    return Invocation(
        arguments=arguments,
        environment=situation.environment,
        kind=kind,
        program=program,
        argv=argv,
        client=client,
        unbuffered=situation.unbuffered,
    )


def absolute(path: str) -> str:
    """As the interpreter does it, which changes nothing else about the path."""
    with suppress(OSError):
        if path == ".":
            return os.getcwd()
        if not path.startswith("/"):
            return f"{os.getcwd()}/{path}"
    return path


def kind_of_file(path: str) -> str:
    """ "file" for plain source. What else the interpreter can run, or has to complain of, it finds
    out best by itself."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return "importable"
        with open(path, "rb") as file:
            beginning = file.read(2)
            file.seek(max(0, status.st_size - 65_557))
            is_archive = b"PK\5\6" in file.read()
    except OSError:
        return "importable"
    if is_archive or beginning == MAGIC_NUMBER[:2] or path.endswith(".pyc"):
        return "importable"
    return "file"
