"""From a child of the zygote to a program in it, or in a fresh interpreter.

Up to `launch` it only prepares; what it cannot do exactly as a fresh interpreter would, a fresh
interpreter does in its place.
"""

from __future__ import annotations

import builtins
import os
import site
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.machinery import BuiltinImporter
from types import ModuleType
from typing import Any, NoReturn

from .hidden import HiddenModules
from .invocation import Invocation
from .standard_streams import open_streams

REAL = "/opt/sandbox/python3"
BIN = "/opt/venv/bin/"
# What libraries read when they are imported; for other values the preloaded ones are wrong.
READ_AT_IMPORT = (
    b"ARROW_", b"BLIS_", b"FONTCONFIG_", b"GOMP_", b"GOTO_", b"JOBLIB_", b"KMP_", b"LANG", b"LC_",
    b"LOKY_", b"MATPLOTLIB", b"MKL_", b"MPL", b"NPY_", b"NUMEXPR_", b"NUMPY_", b"OMP_",
    b"OPENBLAS_", b"PANDAS_", b"PILLOW_", b"SCIPY_", b"SKLEARN_", b"TZ", b"XDG_",
)  # fmt: skip
MODULE_SUFFIXES = (".py", ".pyc", ".so")


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
        # What scouts have found out, by their names.
        self.pages: dict[str, bytes] = {}

    def prepare(self, work: int, scout: str) -> None:
        """What a fresh interpreter has anew, and the pages that this scout has touched, done while
        nobody waits for it: as soon as there is something to read at `work`, only what cannot be
        left out."""
        self._launch.populate(self.pages[scout], work)
        # `random` sees to itself.
        if numpy := self._modules.get("numpy.random"):
            numpy.seed()

    def hold(self, zygote: int) -> int:
        """The process that keeps this one's memory from now on, 0 for none; or -1 if that may do
        more, and no program must get into this memory."""
        return int(self._launch.hold(zygote))

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
