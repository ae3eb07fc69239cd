"""The charts of a period's runs, of all or of some keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone
from django.utils.dateformat import format as format_date

from audit.admin import charts
from audit.admin.charts import Bin, Cell, Chart, Series
from audit.admin.links import Executions
from audit.admin.records import duration
from audit.models import Execution
from audit.statistics.durations import Percentile, added, percentile
from audit.statistics.periods import CHOICES, DEFAULT, Choice
from audit.statistics.reading import Statistics

Status = Execution.Status

# From the bottom of a bar to its top.
OUTCOMES = (
    Status.SUCCEEDED,
    Status.FAILED,
    Status.TIMED_OUT,
    Status.OUT_OF_MEMORY,
    Status.ABORTED,
    Status.RUNNING,
)
PERCENTS = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Tile:
    label: str
    value: str
    note: str = ""
    href: str = ""


class Use:
    """What was used in a period that somebody has chosen."""

    def __init__(
        self,
        name: str | None,
        *,
        keys: tuple[int, ...] | None = None,
        owner: Mapping[str, object] | None = None,
        default: str = DEFAULT,
        now: datetime | None = None,
    ) -> None:
        self.now = now or timezone.now()
        self.choice: Choice = CHOICES.get(name or default, CHOICES[default])
        self.period = self.choice.make(self.now)
        self.statistics = Statistics(self.period, keys)
        owned = tuple((owner or {}).items())
        self.links = Executions(self.period.begin, self.period.end, owned)

    @property
    def choices(self) -> list[tuple[Choice, bool]]:
        return [(choice, choice is self.choice) for choice in CHOICES.values()]

    @property
    def total(self) -> int:
        return self.statistics.statuses.total()

    @property
    def bins(self) -> list[Bin]:
        return [
            Bin(
                written(begin, self.choice.short),
                written(begin, self.choice.long),
                self.links.between(begin, end).list(),
            )
            for begin, end in self.period.bins
        ]

    def outcome_tiles(self) -> list[Tile]:
        statuses = self.statistics.statuses
        succeeded, ended = statuses[Status.SUCCEEDED], self.total - statuses[Status.RUNNING]
        return [
            Tile("Runs", charts.counted(self.total), "began in this time", self.links.list()),
            Tile(
                "Succeeded",
                share(succeeded, ended),
                f"{charts.counted(succeeded)} of {charts.counted(ended)} that ended",
                self.links.list(status__exact=Status.SUCCEEDED.value),
            ),
        ]

    def duration_tiles(self) -> list[Tile]:
        whole = added(self.statistics.durations_by_bin)
        found = [(percent, percentile(whole, percent)) for percent in PERCENTS]
        return [
            Tile(
                f"p{percent} of time",
                about(one) if one else "-",
                f"{charts.counted(one.runs)} took as long or longer" if one else "",
                self.links.list(wall_ms__gte=one.at_least) if one else "",
            )
            for percent, one in found
        ]

    def outcomes(self) -> Chart:
        names = dict(Status.choices)
        statuses = self.statistics.statuses
        series = [
            Series(
                status.value,
                str(names[status]).capitalize(),
                self.links.list(status__exact=status.value),
                charts.counted(statuses[status]),
            )
            for status in OUTCOMES
            if statuses[status]
        ]
        numbers: Sequence[Counter[str]] = self.statistics.statuses_by_bin
        cells = [
            {
                status: Cell(
                    charts.counted(count),
                    self.links.between(*between).list(status__exact=status),
                )
                for status, count in of_bin.items()
            }
            for between, of_bin in zip(self.period.bins, numbers, strict=True)
        ]
        return charts.bars(
            "Runs by outcome", series, self.bins, cells, numbers, self.choice.labelled
        )

    def latencies(self) -> Chart:
        series = [Series(f"p{percent}", f"p{percent}") for percent in PERCENTS]
        found = [
            {f"p{percent}": percentile(histogram, percent) for percent in PERCENTS}
            for histogram in self.statistics.durations_by_bin
        ]
        known = [{name: one for name, one in of_bin.items() if one} for of_bin in found]
        cells = [
            {
                name: Cell(about(one), self.links.between(*between).list(wall_ms__gte=one.at_least))
                for name, one in of_bin.items()
            }
            for between, of_bin in zip(self.period.bins, known, strict=True)
        ]
        values = [{name: one.milliseconds for name, one in of_bin.items()} for of_bin in known]
        return charts.lines(
            "Time of the programs", series, self.bins, cells, values, self.choice.labelled
        )


def about(one: Percentile) -> str:
    return duration(round(one.milliseconds))


def share(part: int, whole: int) -> str:
    """Never 100 % of what was not all of it."""
    if not whole:
        return "-"
    return "100%" if part == whole else f"{min(99.9, 100 * part / whole):.1f}%"


def written(moment: datetime, how: str) -> str:
    return format_date(timezone.localtime(moment), how)
