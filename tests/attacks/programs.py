"""Attacks that are programs, read from Markdown.

`programs/<group>.md` holds a group's. A heading `## name` starts an attack, the paragraph below it
says what it tries, and each fenced block of `python`, `bash` or `js` is a run, all in one session.
What has to hold of a run is said at its opening fence and by the blocks that follow it:

    ```python                    it ends by itself, with exit code 0, and prints nothing: a program
                                 prints what it got hold of
    ```python ends=TO timeout=2000   the answer's `status`, and the request's milliseconds; "any" is
                                 for what may end in several ways, as long as what follows holds
    ```output                    exactly this on stdout
    ```files                     exactly these new files, a name on each line
    ```gvisor ends=any           what holds instead where gVisor's kernel answers, and why that does
                                 no harm; `may_print='a|b'`: each line that it prints is one of
                                 these. Whatever is not said here holds there as well
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.attacks.attack import Attack, held
from tests.attacks.target import Answer, Target

PROGRAMS = Path(__file__).parent / "programs"
ATTEMPT = Path(__file__).with_name("attempt.py").read_text()
CALLS_ATTEMPT = re.compile(r"\b(?:attempt|native|system_call|prctl|others|open_to_write)\(")
LANGUAGES = {"python": "py", "bash": "bash", "js": "js"}
OPTIONS = {"ends", "timeout"}
GVISOR_OPTIONS = {"ends", "may_print"}
EXIT, ANY = "exit", "any"
SECTION = re.compile(
    r"^## +(?P<name>\w+)\n\n(?P<tries>.+?)\n\n(?P<body>.*?)(?=^## |\Z)", re.M | re.S
)
BLOCK = re.compile(r"^```(?P<info>.+)\n(?P<text>(?:.*\n)*?)```$", re.M)
# Of each stream an answer has no more, whatever a program prints, and what it is told about it.
MOST_OUTPUT = 1024 * 1024 + 1000

RunProgram = Callable[["Program", str], Answer]


@dataclass(frozen=True, kw_only=True)
class UnderGVisor:
    """What holds of a run there instead, and why that does no harm."""

    reason: str
    ends: str = ""
    may_print: str = ""


@dataclass(kw_only=True)
class Program:
    """One run, and what has to hold of it."""

    language: str
    code: str
    ends: str = EXIT
    # Milliseconds.
    timeout: int = 30_000
    output: str | None = None
    files: list[str] | None = None
    gvisor: UnderGVisor | None = None

    def source(self) -> str:
        is_attempt = self.language == "py" and CALLS_ATTEMPT.search(self.code)
        return f"{ATTEMPT}\n\n{self.code}" if is_attempt else self.code

    def check(self, answer: Answer, *, under_gvisor: bool = False) -> None:
        otherwise = self.gvisor if under_gvisor else None
        ends = (otherwise and otherwise.ends) or self.ends
        told = {key: str(answer[key])[-600:] for key in ("code", "status", "stdout", "stderr")}
        for stream in ("stdout", "stderr"):
            held(len(answer[stream]) <= MOST_OUTPUT, f"there is no end to {stream}")
        if ends == EXIT:
            held((answer["code"], answer["status"]) == (0, None), f"it ended otherwise: {told}")
        elif ends != ANY:
            held(answer["status"] in ends.split(","), f"it ended otherwise: {told}")
        if otherwise and otherwise.may_print:
            known = re.compile(otherwise.may_print)
            through = [line for line in answer["stdout"].splitlines() if not known.fullmatch(line)]
            held(not through, f"it got through: {through} of {told}")
        else:
            output = "" if self.output is None and ends == EXIT else self.output
            held(output in (None, answer["stdout"]), f"it got through: {told}")
        if self.files is not None:
            new = [file["name"] for file in answer["files"] if not file.get("inherited")]
            held(sorted(new) == sorted(self.files), f"its files are {new}")


@dataclass(kw_only=True)
class Script:
    """The programs of one attack, in the order in which they run."""

    group: str
    name: str
    tries: str
    programs: list[Program] = field(default_factory=list)

    def attack(self) -> Attack:
        return Attack(
            group=self.group,
            name=self.name,
            tries=self.tries,
            carry_out=partial(_through_the_api, self),
        )

    def carry_out(self, run: RunProgram, *, under_gvisor: bool = False) -> str:
        session_id = ""
        for program in self.programs:
            answer = run(program, session_id)
            program.check(answer, under_gvisor=under_gvisor)
            session_id = answer["session_id"]
        return session_id


def _through_the_api(script: Script, target: Target) -> str:
    return script.carry_out(
        lambda program, session_id: target.run(
            program.source(), program.language, session_id=session_id, timeout=program.timeout
        ),
        under_gvisor=target.under_gvisor,
    )


def scripts(group: str) -> Iterator[Script]:
    path = PROGRAMS / f"{group}.md"
    for section in SECTION.finditer(path.read_text() if path.exists() else ""):
        tries = " ".join(section["tries"].split()).removesuffix(".")
        script = Script(group=group, name=section["name"], tries=tries)
        for block in BLOCK.finditer(section["body"]):
            _add(script, block["info"], block["text"])
        if not script.programs:
            raise ValueError(f"{group}/{script.name} has no program")
        yield script


def _add(script: Script, info: str, text: str) -> None:
    kind, *words = shlex.split(info)
    options = dict(word.split("=", 1) for word in words)
    if unknown := options.keys() - (GVISOR_OPTIONS if kind == "gvisor" else OPTIONS):
        raise ValueError(f"{script.group}/{script.name}: nobody knows {unknown}")
    if kind in LANGUAGES:
        program = Program(language=LANGUAGES[kind], code=text, ends=options.get("ends", EXIT))
        program.timeout = int(options.get("timeout", program.timeout))
        script.programs.append(program)
    elif kind == "output":
        script.programs[-1].output = text
    elif kind == "files":
        script.programs[-1].files = text.splitlines()
    elif kind == "gvisor":
        reason = " ".join(text.split())
        if not (reason and options):
            raise ValueError(f"{script.group}/{script.name}: what is otherwise there, and why?")
        script.programs[-1].gvisor = UnderGVisor(reason=reason, **options)
    else:
        raise ValueError(f"{script.group}/{script.name}: nobody knows {kind}")
