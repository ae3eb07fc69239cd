"""A process forked from the zygote, on its way to become a program.

Up to `launch` it only prepares; what it cannot do exactly as a fresh interpreter would, a fresh
interpreter does in its place.
"""

from __future__ import annotations

import builtins
import io
import os
import signal
import site
import socket
import stat
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.machinery import BuiltinImporter
from importlib.util import MAGIC_NUMBER
from types import ModuleType
from typing import Any, NoReturn, TextIO

from . import requests
from .hidden import HiddenModules
from .languages import Language
from .layout import Layout
from .preloaded import HOOK
from .privileges import (
    SANDBOX_UID,
    ZYGOTE_UID,
    ProcessLimits,
    become_sandbox_user,
    belong_to_self,
    name_self,
    sacrifice_self,
)
from .program import Program, become
from .requests import BEGUN, COMMAND, EVENT, MODULE, SCRIPT, Situation
from .source import Source

REAL = "/opt/sandbox/python3"
BIN = "/opt/venv/bin/"
# What libraries read when they are imported; for other values the preloaded ones are wrong.
READ_AT_IMPORT = (
    b"ARROW_", b"BLIS_", b"FONTCONFIG_", b"GOMP_", b"GOTO_", b"JOBLIB_", b"KMP_", b"LANG", b"LC_",
    b"LOKY_", b"MATPLOTLIB", b"MKL_", b"MPL", b"NPY_", b"NUMEXPR_", b"NUMPY_", b"OMP_",
    b"OPENBLAS_", b"PANDAS_", b"PILLOW_", b"SCIPY_", b"SKLEARN_", b"TZ", b"XDG_",
)  # fmt: skip
# As those of the container, which apply all the same.
SCOUT_LIMITS = ProcessLimits(cpu_seconds=10, open_files=1024, file_bytes=1024**3)
MODULE_SUFFIXES = (".py", ".pyc", ".so")


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """One call of `python3`."""

    arguments: list[str]
    environment: Mapping[bytes, bytes]
    kind: str
    program: str
    argv: list[str]
    # The process of the image's `python3`; 0 for a run's own program.
    client: int = 0
    unbuffered: bool = False


class Launcher:
    """What is the same for all programs of a zygote."""

    def __init__(
        self, launch: Any, modules: Mapping[str, ModuleType], hidden: HiddenModules
    ) -> None:
        self._launch = launch
        self._hidden = hidden
        self._modules = modules
        self._top_level = {name.partition(".")[0] for name in modules}
        self._environment = dict(os.environb)
        # What `scout` has found out.
        self.pages = b""

    def prepare(self) -> None:
        """What a fresh interpreter has anew, done while nobody waits for it."""
        self._launch.populate(self.pages)
        # `random` sees to itself.
        if numpy := self._modules.get("numpy.random"):
            numpy.seed()

    def begin_scouting(self) -> None:
        self._launch.scout()

    def launch(self, invocation: Invocation) -> None:
        """Return into the interpreter's start, which goes on with this program."""
        # Whatever goes wrong: nobody else would run the program now.
        with suppress(Exception):
            if self._is_like_ours(invocation):
                self._launch_here(invocation)
                return
        execute_real(invocation)

    def _launch_here(self, invocation: Invocation) -> None:
        if invocation.environment != self._environment:
            os.environb.clear()
            os.environb.update(invocation.environment)
            # Computed at the start, from the home directory.
            site.USER_BASE = site.USER_SITE = None
            site.getusersitepackages()
        if logging := self._modules.get("logging"):
            # Log records count from when it was imported.
            vars(logging)["_startTime"] = time.time()
        # The zygote has needed some.
        self._hidden.hide()
        sys.modules["__main__"] = empty_main()
        sys.argv[:] = invocation.argv
        sys.orig_argv[:] = invocation.arguments
        sys.executable = BIN + os.path.basename(invocation.arguments[0])
        self._launch.stand_in_for(invocation.client)
        self._launch.show(
            b"".join(os.fsencode(argument) + b"\0" for argument in invocation.arguments),
            b"".join(b"%s=%s\0" % item for item in invocation.environment.items()),
        )
        open_streams(buffered=not invocation.unbuffered)
        self._launch.configure(
            invocation.arguments[0],
            invocation.kind,
            invocation.program,
            invocation.argv,
            invocation.unbuffered,
        )

    def _is_like_ours(self, invocation: Invocation) -> bool:
        if not is_text(invocation.program):
            return False
        ours, theirs = self._environment, invocation.environment
        if theirs != ours:
            for name in ours.keys() | theirs.keys():
                if name.startswith(READ_AT_IMPORT) and ours.get(name) != theirs.get(name):
                    return False
        return not self._is_shadowed(invocation)

    def _is_shadowed(self, invocation: Invocation) -> bool:
        """Whether beside the program there is a module that takes the place of a preloaded one,
        or other settings for one."""
        directory = "."
        try:
            if invocation.kind in ("file", "importable"):
                directory = os.path.dirname(os.path.realpath(invocation.program))
            names = os.listdir(directory)
        except OSError:
            names = []
        for name in names:
            stem, dot, _ = name.partition(".")
            if stem in self._top_level and (not dot or name.endswith(MODULE_SUFFIXES)):
                return True
        configuration = os.fsdecode(self._environment.get(b"MPLCONFIGDIR", b""))
        return os.path.exists("matplotlibrc") or os.path.exists(f"{configuration}/matplotlibrc")


def empty_main() -> ModuleType:
    """As the interpreter's start makes it. The zygote's own is out of the garbage collector's
    sight, and so would be all cycles that a program's definitions are a part of."""
    main: Any = ModuleType("__main__")
    main.__annotations__ = {}
    main.__builtins__ = builtins
    main.__loader__ = BuiltinImporter
    result: ModuleType = main
    return result


def is_text(program: str) -> bool:
    try:
        program.encode()
    except UnicodeEncodeError:
        return False
    return True


def execute_real(invocation: Invocation) -> NoReturn:
    os.execve(  # noqa: S606 - a program with the same rights
        REAL, invocation.arguments, dict(invocation.environment)
    )


def open_streams(*, buffered: bool) -> None:
    """The interpreter's own are those of the zygote."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _open_stream(descriptor, name, buffered=buffered)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _open_stream(descriptor: int, name: str, *, buffered: bool) -> TextIO | None:
    """As the interpreter's start does it; OSError where that gives up."""
    try:
        size = os.fstat(descriptor).st_blksize
    except OSError:
        return None
    zygotes: Any = getattr(sys, f"__{name}__")
    writes = descriptor > 0
    raw: Any = io.FileIO(descriptor, "wb" if writes else "rb", closefd=False)
    binary: Any = raw
    if buffered or not writes:
        buffer = io.BufferedWriter if writes else io.BufferedReader
        binary = buffer(raw, size if size > 1 else io.DEFAULT_BUFFER_SIZE)
    raw.name = f"<{name}>"
    text: Any = io.TextIOWrapper(
        binary,
        encoding=zygotes.encoding,
        errors=zygotes.errors,
        newline="\n",
        line_buffering=buffered and (raw.isatty() or name == "stderr"),
        write_through=not buffered,
    )
    text.mode = "w" if writes else "r"
    stream: TextIO = text
    return stream


def serve_run(
    program: Program, descriptors: Sequence[int], launcher: Launcher, uid: int = SANDBOX_UID
) -> None:
    stdout, stderr, tell = descriptors
    command = become(program, stdout, stderr, tell, uid)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    name_self(b"python3")
    arguments = [os.fsdecode(argument) for argument in command.arguments]
    launcher.launch(
        Invocation(
            arguments=arguments,
            environment={k.encode(): v.encode() for k, v in command.environment.items()},
            kind="file",
            program=absolute(arguments[1]),
            argv=arguments[1:],
        )
    )


def scout(pages: int, launcher: Launcher) -> None:
    """Run a small program, such as many begin with, as the zygote's own user, and say in the end
    which pages of memory it has touched."""
    program = Program(
        replace(Layout(), workspace="/"),
        Language(("python3",), "scout.py", beside_files=False),
        Source(f"{HOOK}/scout.py", "scout.py", 0, ""),
        args=[],
        limits=SCOUT_LIMITS,
    )
    launcher.begin_scouting()
    nowhere = os.open("/dev/null", os.O_WRONLY)
    serve_run(program, (nowhere, pages, nowhere), launcher, ZYGOTE_UID)


def serve_client(connection: socket.socket, launcher: Launcher) -> None:
    # Other programs can get at what this has open as soon as it is one of theirs, and it may stay
    # so for long: nothing of the runner's is among it.
    os.dup2(0, 2)
    become_sandbox_user()
    belong_to_self()
    os.setsid()
    sacrifice_self()
    try:
        invocation = _take_over(connection)
    except Exception:  # noqa: BLE001 - the image's `python3` sees it and does without, in silence
        os._exit(126)
    launcher.launch(invocation)


def _take_over(connection: socket.socket) -> Invocation:
    situation = requests.receive(connection)
    client = requests.peer(connection)
    keep = situation.take_over(connection.detach())
    set_signals(situation)
    name_self(situation.name)
    invocation = invocation_of(situation, client)
    # From here on the program has begun, and nobody else may run it.
    os.write(keep, EVENT.pack(BEGUN, 0))
    os.close(keep)
    return invocation


def set_signals(situation: Situation) -> None:
    for number in sorted(situation.ignored):
        if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, situation.blocked)


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
        with builtins.open(path, "rb") as file:
            beginning = file.read(2)
            file.seek(max(0, status.st_size - 65_557))
            is_archive = b"PK\5\6" in file.read()
    except OSError:
        return "importable"
    if is_archive or beginning == MAGIC_NUMBER[:2] or path.endswith(".pyc"):
        return "importable"
    return "file"
