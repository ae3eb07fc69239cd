"""Preloaded modules that a program does not see until it imports them.

A program finds in `sys.modules` what a fresh interpreter has. An import searches as ever; when it
has found the very file that a preloaded module was made from, that module, and with it all that
its first import brings along, takes the place of running the file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from .traces import Traces

# Which the interpreter leaves out of tracebacks.
IMPORTLIB = "<frozen importlib._bootstrap>"

Load = Callable[[ModuleSpec], ModuleType]


class HiddenModules:
    def __init__(
        self,
        modules: Mapping[str, ModuleType],
        brought_along: Mapping[str, Sequence[str]],
        traces: Traces,
    ) -> None:
        """`brought_along`: for a name, what its import alone loads, in order, itself included."""
        self.modules: dict[str, ModuleType] = {}
        self._all = modules
        self._brought_along = brought_along
        self._traces = traces
        packages = dict(sys.modules)
        # Where a module is an attribute of its package, which comes with its import.
        self._holders = {
            name: holder
            for name, module in modules.items()
            if (holder := packages.get(name.rpartition(".")[0])) is not None
            and vars(holder).get(name.rpartition(".")[2]) is module
        }

        bootstrap: Any = sys.modules["_frozen_importlib"]
        bootstrap._load_unlocked = self._instead_of(bootstrap._load_unlocked)

    def hide(self) -> None:
        """Those that can be seen."""
        for name in self._all.keys() & sys.modules.keys():
            self.modules[name] = sys.modules.pop(name)
            if name in self._holders:
                vars(self._holders[name]).pop(name.rpartition(".")[2], None)

    def show(self, name: str) -> None:
        shown = [each for each in self._group(name) if each in self.modules]
        for each in shown:
            # Once: a program that removes a module and imports it again gets another one.
            module = self.modules.pop(each)
            sys.modules.setdefault(each, module)
            if each in self._holders:
                setattr(self._holders[each], each.rpartition(".")[2], module)
        self._traces.restore(shown)
        if "matplotlib" in shown:
            backend = os.environ.get("MPLBACKEND")
            if backend:
                sys.modules["matplotlib"].rcParams["backend"] = backend

    def _group(self, name: str) -> Sequence[str]:
        group = self._brought_along.get(name)
        if group is not None:
            return group
        # As a rule nobody imports it by itself: it comes with the least that has it.
        groups = [group for group in self._brought_along.values() if name in group]
        return min(groups, key=len, default=[name])

    def _instead_of(self, load: Load) -> Load:
        modules, show = self.modules, self.show

        def _load_unlocked(spec: ModuleSpec) -> ModuleType:
            module = modules.get(spec.name)
            known = module.__spec__ if module else None
            if known is None or known.origin != spec.origin:
                return load(spec)
            show(spec.name)
            return sys.modules[spec.name]

        code = _load_unlocked.__code__
        _load_unlocked.__code__ = code.replace(co_filename=IMPORTLIB)
        return _load_unlocked
