"""What imports leave behind outside of the modules that they load."""

from __future__ import annotations

import atexit
import copyreg
import linecache
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

Register = Callable[..., Any]


class Traces:
    """Warnings filters, functions for the end and ways to pickle. A program has those of the
    modules that it imports, as if they had been imported only then."""

    def __init__(self, baseline: Set[str]) -> None:
        """`baseline`: the modules of an interpreter that has just started."""
        self._left: list[tuple[str, Callable[[], object]]] = []
        for cls, function in list(copyreg.dispatch_table.items()):
            # Of what was imported to get here.
            if function.__module__ not in baseline | {"copyreg"}:
                again = partial(copyreg.pickle, cls, function)
                self._left.append((function.__module__, again))
                del copyreg.dispatch_table[cls]

    @contextmanager
    def recorded(self) -> Iterator[None]:
        module: Any = warnings
        filters, add, register = list(module.filters), module._add_filter, atexit.register
        reductions, reduce_by = dict(copyreg.dispatch_table), copyreg.pickle
        added: list[tuple[str, tuple[Any, ...], bool]] = []

        def record_filter(*item: Any, append: bool) -> None:
            # The caller is one of the functions that add filters, and its caller the module.
            added.append((module_of(sys._getframe(2)), item, append))
            add(*item, append=append)

        def record_function(function: Register, *args: Any, **kwargs: Any) -> Register:
            again = partial(register, function, *args, **kwargs)
            self._left.append((module_of(sys._getframe(1)), again))
            return function

        def record_reduction(cls: type, *args: Any) -> None:
            self._left.append((module_of(sys._getframe(1)), partial(reduce_by, cls, *args)))
            reduce_by(cls, *args)

        module._add_filter, atexit.register = record_filter, record_function  # type: ignore[assignment]
        copyreg.pickle = record_reduction  # type: ignore[assignment]
        try:
            yield
        finally:
            module._add_filter, atexit.register, copyreg.pickle = add, register, reduce_by
            copyreg.dispatch_table.clear()
            copyreg.dispatch_table.update(reductions)
            # Others were meant for some moments only.
            for name, item, append in added:
                if item in module.filters:
                    self._left.append((name, partial(add, *item, append=append)))
            module.filters[:] = filters
            module._filters_mutated()

    def restore(self, names: Iterable[str]) -> None:
        shown = set(names)
        for name, leave in self._left:
            if name in shown:
                leave()


def module_of(frame: FrameType) -> str:
    name: str = frame.f_globals.get("__name__", "")
    return name


def forget_caches(importers: Iterable[str]) -> None:
    """But those of the directories that every interpreter looks into."""
    re.purge()
    linecache.clearcache()
    known = set(importers)
    for path in list(sys.path_importer_cache):
        if path not in known:
            del sys.path_importer_cache[path]
