"""The one picture: each case with and without the interpreter."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bench.report import Measured, Report

# On transparent ground, and of a brightness that can be read on white and on black.
INK = "#7a7f87"
OURS, THEIRS = "#2f7fe0", "#a0764a"
BAR = 0.36


def draw(report: Report, path: Path) -> None:
    shown = [one for one in report.comparisons if one.ours.summary]
    with mpl.rc_context({"font.size": 11, "text.color": INK, "axes.labelcolor": INK}):
        figure = Figure(figsize=(9, 0.9 + 0.85 * len(shown)), layout="constrained")
        axes = figure.subplots()
        for row, one in enumerate(shown):
            bar(axes, row - BAR / 2, one.ours, OURS, "this interpreter" if row == 0 else None)
            if one.docker_exec:
                theirs = "docker exec" if row == 0 else None
                bar(axes, row + BAR / 2, one.docker_exec, THEIRS, theirs)
        axes.set_xscale("log")
        axes.set_yticks(range(len(shown)), [one.title for one in shown])
        axes.invert_yaxis()
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(value)))
        axes.set_xlabel(
            "Bar and number: median of one run. Line: up to the 95th percentile. Log scale."
        )
        axes.tick_params(colors=INK, which="both")
        axes.grid(axis="x", which="major", color=INK, alpha=0.3, linewidth=0.7)
        axes.set_axisbelow(True)
        for side, spine in axes.spines.items():
            spine.set_visible(side == "bottom")
            spine.set_color(INK)
        # A bar's length means something only from the same beginning each time; and on the right
        # there is room for the longest bar's number.
        axes.set_xlim(1, axes.get_xlim()[1] * 2.5)
        figure.legend(loc="outside upper right", ncols=2, frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=160, transparent=True, metadata={"Software": None})


def bar(axes: Axes, row: float, measured: Measured, color: str, label: str | None) -> None:
    summary = measured.summary
    if summary is None:
        return
    axes.barh(row, summary.p50, BAR, color=color, label=label)
    axes.plot([summary.p50, summary.p95], [row, row], color=color, linewidth=2)
    axes.annotate(
        duration(summary.p50),
        (summary.p95, row),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        color=color,
        fontweight="bold",
    )


def duration(milliseconds: float) -> str:
    return f"{milliseconds:,.0f} ms" if milliseconds >= 10 else f"{milliseconds:.3g} ms"
