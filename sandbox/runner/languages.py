"""The languages: which command runs a source, under which name, and with what around it."""

from __future__ import annotations

import re
from typing import NamedTuple

from .layout import Layout

# At the start of a line, where it is not inside a function.
MODULE_SYNTAX = re.compile(
    rb"^(?:import(?:\s+\w|\s*[{*'\"])|export\s|await\b|(?:const|let|var)\s[^=\n]+=\s*await\b)", re.M
)
SCRIPT_SYNTAX = re.compile(rb"\brequire\s*\(|\bmodule\.exports\b|\b__(?:dirname|filename)\b")


class Language(NamedTuple):
    command: tuple[str, ...]
    source: str
    # Programs import modules from beside their source, and say its name in tracebacks.
    beside_files: bool
    # An interpreter with its libraries loaded can run it.
    preloaded: bool = False


LANGUAGES = {
    "py": Language(("python3",), "main.py", beside_files=True, preloaded=True),
    "js": Language(("node",), "index.js", beside_files=True),
    # Elsewhere, so that `ls` and `zip -r` meet the user's files alone.
    "bash": Language(("bash",), "script.sh", beside_files=False),
}


def source_name(language: Language, beginning: bytes) -> str:
    """Node takes a file as an ES module by its name only."""
    if language.source != "index.js" or SCRIPT_SYNTAX.search(beginning):
        return language.source
    return "index.mjs" if MODULE_SYNTAX.search(beginning) else language.source


def environment(layout: Layout, *, away_from_files: bool) -> dict[str, str]:
    """All that a program sees. Nothing is inherited."""
    caches = f"{layout.temporary}/.cache"
    variables = {
        "PATH": layout.path,
        "HOME": layout.workspace,
        "PWD": layout.workspace,
        "USER": "sandbox",
        "LOGNAME": "sandbox",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TMPDIR": layout.temporary,
        # What programs cache would otherwise be collected as their output.
        "XDG_CACHE_HOME": caches,
        "MPLCONFIGDIR": f"{caches}/matplotlib",
        "MPLBACKEND": "Agg",
        # A compiled module counts as fresh by size and second: a rewritten one may be just that.
        "PYTHONDONTWRITEBYTECODE": "1",
        # More threads than the container has CPU only get in each other's way.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    if away_from_files:
        variables |= {"PYTHONPATH": layout.workspace, "NODE_PATH": layout.workspace}
    return variables
