"""What it costs each container that waits to have a library loaded ahead, and what it saves a run
that imports it: of those that the image has chosen, and of others that programs often import."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.client import CallFailed
from bench.engine import PlainContainer
from bench.idle import in_mb
from bench.progress import Progress
from bench.report import Libraries, Library

CHOSEN = "/opt/sandbox/python/preload.txt"
OTHERS = (
    "scipy.stats", "seaborn", "sklearn.linear_model", "statsmodels.api", "sympy", "networkx",
    "openpyxl", "docx", "pptx", "pypdf", "reportlab.pdfgen.canvas", "requests", "bs4",
)  # fmt: skip
IMPORTS = Path(__file__).with_name("imports.py").read_text()


def measure(container: PlainContainer, *, rounds: int, progress: Progress) -> Libraries:
    """Each round in fresh interpreters. One of the others comes after the chosen ones, as it would
    if it was chosen as well."""
    result = Libraries()
    try:
        chosen = container.execute(["cat", CHOSEN]).split()
        found = [_imported(container, chosen) for _ in range(rounds)]
        for number, name in enumerate(chosen):
            result.libraries.append(_library(name, found, number, is_chosen=True))
        result.chosen_mb = in_mb(median(kib for *_, (_, kib) in found))
        for count, name in enumerate(OTHERS, start=1):
            progress.update(f"libraries: {count} of {len(OTHERS)} others")
            found = [_imported(container, [*chosen, name]) for _ in range(rounds)]
            result.libraries.append(_library(name, found, len(chosen), is_chosen=False))
    except CallFailed as error:
        result.errors[str(error)] = 1
    return result


def _imported(container: PlainContainer, names: Sequence[str]) -> list[tuple[float, int]]:
    """For each, milliseconds of CPU, and KiB with all that came before it; after what the
    interpreter has by itself, which imports nothing."""
    printed = container.execute(["python3", "-c", IMPORTS, "sys", *names])
    return [(milliseconds, kib) for milliseconds, kib in map(json.loads, printed.splitlines())]


def _library(
    name: str, found: Sequence[Sequence[tuple[float, int]]], number: int, *, is_chosen: bool
) -> Library:
    return Library(
        name=name,
        is_chosen=is_chosen,
        cpu_ms=round(median(one[number + 1][0] for one in found), 1),
        memory_mb=in_mb(median(one[number + 1][1] - one[number][1] for one in found)),
    )
