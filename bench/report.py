"""All that one run of the benchmark has found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.machine import Machine
from bench.summary import METHOD, Summary, Times


@dataclass(frozen=True, slots=True)
class Measured:
    summary: Summary | None
    errors: dict[str, int]
    milliseconds: list[float]

    @classmethod
    def of(cls, times: Times) -> Measured:
        return cls(times.summary, dict(times.errors), list(times.milliseconds))

    @property
    def failed(self) -> int:
        return sum(self.errors.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    case: str
    title: str
    target: float
    ours: Measured
    docker_exec: Measured | None
    # Medians of the service's own records; empty when it is somebody else's.
    steps_ms: dict[str, float] = field(default_factory=dict)
    containers_from: dict[str, int] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Of the medians, ours to theirs."""
        theirs = self.docker_exec.summary if self.docker_exec else None
        if self.ours.summary is None or theirs is None:
            return None
        return round(self.ours.summary.p50 / theirs.p50, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    case: str
    title: str
    megabytes: int
    total: Measured
    upload: Measured
    run: Measured
    download: Measured

    def megabytes_per_second(self, part: Measured) -> float | None:
        if part.summary is None:
            return None
        return round(self.megabytes / (part.summary.p50 / 1000), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    case: str
    title: str
    target: float
    clients: int
    seconds: float
    runs: Measured
    containers_from: dict[str, int] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        return round(len(self.runs.milliseconds) / self.seconds, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """From the decision to start a container to the answer that it is hot."""

    times: Measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Of one hot container that waits for its first run."""

    processes: int
    # Pages that several processes share count in parts, also of those in other containers.
    pss_mb: float
    anonymous_mb: float
    # If there were no other container of the image.
    alone_mb: float
    charged_mb: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """Imported for the first time, after those before it."""

    name: str
    is_chosen: bool
    cpu_ms: float
    memory_mb: float


@dataclass(slots=True, kw_only=True)
class Libraries:
    # Of a plain interpreter that has imported all that are chosen and has done nothing else.
    chosen_mb: float | None = None
    libraries: list[Library] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Report:
    date: str
    command: str
    machine: Machine
    settings: dict[str, str]
    notes: list[str]
    comparisons: list[Comparison] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    throughputs: list[Throughput] = field(default_factory=list)
    start: Start | None = None
    memory: Memory | None = None
    libraries: Libraries | None = None

    def measured(self) -> Iterator[tuple[str, Measured]]:
        """Everything that has errors to tell of, and what it is called."""
        for comparison in self.comparisons:
            yield comparison.case, comparison.ours
            if comparison.docker_exec:
                yield f"{comparison.case}, docker exec", comparison.docker_exec
        for transfer in self.transfers:
            yield transfer.case, transfer.total
        for throughput in self.throughputs:
            yield throughput.case, throughput.runs
        if self.start:
            yield "start", self.start.times
        if self.libraries:
            yield "libraries", Measured(None, self.libraries.errors, [])

    @property
    def failed(self) -> int:
        return sum(measured.failed for _, measured in self.measured())

    def as_json(self) -> str:
        content: dict[str, Any] = asdict(self)
        content["method"] = METHOD
        for entry, comparison in zip(content["comparisons"], self.comparisons, strict=True):
            entry["ratio"] = comparison.ratio
        for entry, throughput in zip(content["throughputs"], self.throughputs, strict=True):
            entry["per_second"] = throughput.per_second
        for entry, transfer in zip(content["transfers"], self.transfers, strict=True):
            entry["megabytes_per_second"] = {
                "upload": transfer.megabytes_per_second(transfer.upload),
                "run": transfer.megabytes_per_second(transfer.run),
                "download": transfer.megabytes_per_second(transfer.download),
            }
        return json.dumps(content, indent=1) + "\n"

    def write_json(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.as_json())
