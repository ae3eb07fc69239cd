"""From a started interpreter to a zygote."""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import socket
import sys
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from .hidden import HiddenModules
from .launcher import Launcher
from .layout import Layout
from .preloaded import DESCRIPTORS_VARIABLE, HOOK
from .privileges import become_zygote, name_self
from .traces import Traces, forget_caches
from .zygote import BecameProgram, Zygote

PACKAGE = __name__.partition(".")[0]
# Where a library looks for a user's settings or files while it is imported.
NOWHERE = "/nonexistent"
PR_SET_THP_DISABLE = 41


def serve(baseline: Set[str], importers: Set[str]) -> None:
    """Never returns in the zygote; in its children, once they know what to run."""
    sys.path.remove("/opt/sandbox")
    become_zygote()
    control, listener = (
        socket.socket(fileno=int(number)) for number in os.environ.pop(DESCRIPTORS_VARIABLE).split()
    )
    del os.environ["PYTHONPATH"]
    for each in (control, listener):
        each.set_inheritable(False)
    launch = load_launch()
    traces = Traces(baseline)
    with traces.recorded():
        modules = preload(Layout(), baseline)
    brought_along = json.loads(Path(HOOK, "brought_along.json").read_text())
    hidden = HiddenModules(modules, brought_along, traces)
    zygote = Zygote(control, listener, Launcher(launch, modules, hidden))
    hidden.hide()
    own = [sys.modules.pop(name) for name in list(sys.modules) if is_own(name)]
    # What a child leaves behind on its way out of here would be freed, piece by piece.
    launch.keep(modules, [zygote, own, sys._getframe(1).f_globals])
    launch.show(b"zygote\0", b"")
    name_self(b"zygote")
    forget_caches(importers)
    gc.collect()
    gc.freeze()
    with suppress(BecameProgram):
        zygote.serve()


def load_launch() -> Any:
    loader = ExtensionFileLoader("_launch", f"{HOOK}/_launch.so")
    module = module_from_spec(ModuleSpec("_launch", loader, origin=loader.path))
    loader.exec_module(module)
    sys.modules.pop("_launch", None)
    return module


def preload(layout: Layout, baseline: Set[str]) -> dict[str, ModuleType]:
    with settings_of_the_image(layout):
        for name in Path(HOOK, "preload.txt").read_text().split():
            importlib.import_module(name)
        rehearse()
    if matplotlib := sys.modules.get("matplotlib"):
        for function in (matplotlib.get_cachedir, matplotlib.get_configdir):
            forget_result(function)
    return {
        name: module
        for name, module in sys.modules.items()
        if name not in baseline and not is_own(name)
    }


def is_own(name: str) -> bool:
    return name.partition(".")[0] in (PACKAGE, "rehearsal")


@contextmanager
def settings_of_the_image(layout: Layout) -> Iterator[None]:
    """Nothing that a program could have written is read: a zygote outlives it."""
    program = dict(os.environ)
    os.environ |= {
        "HOME": NOWHERE,
        "TMPDIR": NOWHERE,
        "XDG_CACHE_HOME": NOWHERE,
        "MPLCONFIGDIR": f"{layout.caches}/matplotlib",
        # A fork would lose the thread that Arrow's allocator has otherwise.
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
        # The other one would take two huge pages for some hundred bytes.
        "MIMALLOC_ALLOW_THP": "0",
    }
    access = os.access
    # matplotlib makes itself another directory if it cannot write to this one.
    os.access = lambda *args, **options: True
    try:
        yield
    finally:
        os.access = access
        os.environ.clear()
        os.environ.update(program)
        # It has none for anybody then, and programs shall have them.
        ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0)


def rehearse() -> None:
    sys.path.insert(0, HOOK)
    importlib.import_module("rehearsal").rehearse()
    sys.path.remove(HOOK)


def forget_result(function: FunctionType) -> None:
    """Of one of matplotlib's functions that are called once."""
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    cells["called"].cell_contents = False
