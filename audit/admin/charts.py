"""Charts as SVG and tables as HTML, drawn here: no script is needed to see them, each part of one
is a link, and colours are a stylesheet's. All places are shares of the drawing's width and height.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

# Of a bar's share of the width, so that bars do not touch.
BAR = 0.8
TICKS = 4
LEVELS = 5
NONE = "None in this period."


def percent(share: float) -> str:
    return f"{100 * share:.3f}%"


def counted(number: int) -> str:
    return f"{number:,}"


def amount(number: int, noun: str) -> str:
    return f"{counted(number)} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Series:
    name: str
    label: str
    href: str = ""
    # What the legend says of the whole period.
    total: str = ""


@dataclass(frozen=True, slots=True)
class Bin:
    short: str
    long: str
    href: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A part of a chart that leads somewhere."""

    series: str
    title: str
    href: str
    x: str
    y: str
    width: str = ""
    height: str = ""


@dataclass(frozen=True, slots=True)
class Stroke:
    series: str
    x1: str
    y1: str
    x2: str
    y2: str


@dataclass(frozen=True, slots=True)
class Label:
    text: str
    at: str


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    head: Cell
    cells: list[Cell]


@dataclass(slots=True)
class Chart:
    title: str
    series: list[Series]
    rows: list[Row]
    marks: list[Mark] = field(default_factory=list)
    strokes: list[Stroke] = field(default_factory=list)
    # Above and beside it.
    unit: str = ""
    levels: list[Label] = field(default_factory=list)
    moments: list[Label] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Part:
    """Of a ranking."""

    label: str
    runs: int
    href: str
    series: str = ""
    width: str = ""

    @property
    def text(self) -> str:
        return counted(self.runs)


@dataclass(frozen=True, slots=True)
class Ranking:
    title: str
    parts: list[Part]
    # What is said where there is nothing.
    empty: str = NONE


@dataclass(frozen=True, slots=True)
class Square:
    title: str
    text: str
    level: int
    href: str


@dataclass(frozen=True, slots=True)
class Heatmap:
    title: str
    hours: list[str]
    days: list[tuple[str, list[Square]]]


def bars(
    title: str,
    series: list[Series],
    bins: list[Bin],
    counts: Sequence[Mapping[str, Cell]],
    numbers: Sequence[Mapping[str, int]],
    every: int,
) -> Chart:
    """Stacked, the first series at the bottom."""
    top = nice(max((sum(of_bin.values()) for of_bin in numbers), default=0))
    chart = Chart(title, series, list(table(series, bins, counts)), unit="runs")
    chart.levels = [
        Label(counted(top * n // TICKS), percent(1 - n / TICKS)) for n in range(TICKS + 1)
    ]
    chart.moments = labels(bins, every)
    for index, (bin_, of_bin) in enumerate(zip(bins, numbers, strict=True)):
        below = 0
        for one in series:
            number = of_bin.get(one.name, 0)
            if not number:
                continue
            below += number
            chart.marks.append(
                Mark(
                    one.name,
                    f"{bin_.long}: {amount(number, 'run')}, {one.label.lower()}",
                    counts[index][one.name].href,
                    percent((index + (1 - BAR) / 2) / len(bins)),
                    percent(1 - below / top),
                    percent(BAR / len(bins)),
                    percent(number / top),
                )
            )
    return chart


def lines(
    title: str,
    series: list[Series],
    bins: list[Bin],
    cells: Sequence[Mapping[str, Cell]],
    milliseconds: Sequence[Mapping[str, float]],
    every: int,
) -> Chart:
    """Over a logarithmic scale, as a few runs take a thousand times as long as most."""
    chart = Chart(title, series, list(table(series, bins, cells)), unit="log scale")
    values = [max(1.0, value) for of_bin in milliseconds for value in of_bin.values()]
    lowest = math.floor(math.log10(min(values, default=1)))
    highest = max(math.ceil(math.log10(max(values, default=10))), lowest + 1)

    def height(value: float) -> str:
        return percent(1 - (math.log10(max(1.0, value)) - lowest) / (highest - lowest))

    chart.levels = [
        Label(tick(10**power), height(10**power)) for power in range(lowest, highest + 1)
    ]
    chart.moments = labels(bins, every)
    for one in series:
        before: tuple[str, str] | None = None
        for index, bin_ in enumerate(bins):
            value = milliseconds[index].get(one.name)
            if value is None:
                before = None
                continue
            x, y = percent((index + 0.5) / len(bins)), height(value)
            if before:
                chart.strokes.append(Stroke(one.name, *before, x, y))
            cell = cells[index][one.name]
            chart.marks.append(
                Mark(one.name, f"{bin_.long}: {one.label} {cell.text}", cell.href, x, y)
            )
            before = x, y
    return chart


def table(
    series: list[Series], bins: list[Bin], cells: Sequence[Mapping[str, Cell]]
) -> Iterator[Row]:
    """The same for those who do not see the drawing, without what is empty."""
    for bin_, of_bin in zip(bins, cells, strict=True):
        if of_bin:
            found = [of_bin.get(one.name, Cell("-")) for one in series]
            yield Row(Cell(bin_.long, bin_.href), found)


def labels(bins: list[Bin], every: int) -> list[Label]:
    return [
        Label(bin_.short, percent((index + 0.5) / len(bins)))
        for index, bin_ in enumerate(bins)
        if index % every == 0
    ]


def ranking(title: str, parts: Iterable[Part], empty: str = NONE) -> Ranking:
    found = list(parts)
    most = max((part.runs for part in found), default=0)
    return Ranking(
        title,
        [
            Part(part.label, part.runs, part.href, part.series, percent(part.runs / most))
            for part in found
        ],
        empty,
    )


def level(number: int, most: int) -> int:
    """0 where there is nothing."""
    return math.ceil(LEVELS * number / most) if number else 0


def tick(milliseconds: int) -> str:
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds // 1000} s"


def nice(most: int) -> int:
    """The least round number above it that `TICKS` divides."""
    number = TICKS
    while number < most:
        power = TICKS * 10 ** max(0, len(str(math.ceil(most / TICKS))) - 1)
        for factor in (1, 2, 3, 5, 10):
            number = factor * power
            if number >= most:
                break
    return number
