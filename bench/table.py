"""The report as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.report import (
    Comparison,
    Libraries,
    Measured,
    Memory,
    Report,
    Start,
    Throughput,
    Transfer,
)
from bench.summary import METHOD

NOTHING = "-"


def table(report: Report) -> str:
    return "\n".join(lines(report)) + "\n"


def lines(report: Report) -> Iterator[str]:
    machine = report.machine
    yield ""
    yield f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib} GiB, {machine.kernel}"
    yield f"{machine.engine}, Python {machine.python}, load before {machine.load_before}"
    yield f"{report.date}: {report.command}"
    if report.settings:
        yield " ".join(f"{name}={value}" for name, value in report.settings.items())
    if report.comparisons:
        yield ""
        yield from comparisons(report.comparisons)
    if report.throughputs:
        yield ""
        yield from throughputs(report.throughputs)
    if report.transfers:
        yield ""
        yield from transfers(report.transfers)
    if report.start or report.memory:
        yield ""
        yield from hot_container(report.start, report.memory)
    if report.libraries:
        yield ""
        yield from libraries(report.libraries)
    if any(comparison.steps_ms for comparison in report.comparisons):
        yield ""
        yield from steps(report.comparisons)
    yield ""
    yield METHOD
    yield from report.notes
    yield from errors(report)


def comparisons(found: Sequence[Comparison]) -> Iterator[str]:
    rows = [
        [
            "one run (ms)",
            "p50",
            "p95",
            "p99",
            "docker exec: p50",
            "p95",
            "p99",
            "ratio",
            "target",
            "",
            "runs",
            "errors",
        ]
    ]
    for one in found:
        theirs = one.docker_exec
        rows.append(
            [
                one.title,
                *percentiles(one.ours),
                *(percentiles(theirs) if theirs else [NOTHING] * 3),
                f"{one.ratio:.3f}" if one.ratio is not None else NOTHING,
                f"<= {one.target:.2f}",
                verdict(one.ratio is not None and one.ratio <= one.target, one.ratio is not None),
                str(len(one.ours.milliseconds)),
                str(one.ours.failed + (theirs.failed if theirs else 0)),
            ]
        )
    return aligned(rows)


def throughputs(found: Sequence[Throughput]) -> Iterator[str]:
    rows = [
        [
            "load",
            "clients",
            "seconds",
            "runs/s",
            "target",
            "",
            "p50",
            "p95",
            "p99",
            "runs",
            "errors",
            "containers from",
        ]
    ]
    for one in found:
        good = one.per_second >= one.target and not one.runs.failed
        rows.append(
            [
                one.title,
                str(one.clients),
                f"{one.seconds:.0f}",
                f"{one.per_second:.1f}",
                f">= {one.target:.0f}",
                verdict(good, True),
                *percentiles(one.runs),
                str(len(one.runs.milliseconds)),
                str(one.runs.failed),
                sources(one.containers_from),
            ]
        )
    return aligned(rows)


def transfers(found: Sequence[Transfer]) -> Iterator[str]:
    rows = [
        [
            "files",
            "p50 ms",
            "p95",
            "p99",
            "upload MB/s",
            "run MB/s",
            "download MB/s",
            "rounds",
            "errors",
        ]
    ]
    for one in found:
        speeds = [one.megabytes_per_second(part) for part in (one.upload, one.run, one.download)]
        rows.append(
            [
                one.title,
                *percentiles(one.total),
                *(NOTHING if speed is None else f"{speed:.1f}" for speed in speeds),
                str(len(one.total.milliseconds)),
                str(one.total.failed),
            ]
        )
    yield from aligned(rows)
    yield "MB is 2^20 bytes; a run moves the file in and the changed one out, and counts it once."


def hot_container(start: Start | None, memory: Memory | None) -> Iterator[str]:
    if start:
        p50, p95, p99 = percentiles(start.times)
        count = len(start.times.milliseconds)
        yield f"A container is hot after {p50} ms (p95 {p95}, p99 {p99}; {count} containers)"
    if memory:
        yield (
            f"A hot container that waits: {memory.pss_mb} MB (PSS of {memory.processes} processes,"
            f" {memory.anonymous_mb} MB of it no file's);"
            f" {memory.alone_mb} MB if no other container shared its files;"
            f" {memory.charged_mb or NOTHING} MB count against its limit"
        )


def libraries(found: Libraries) -> Iterator[str]:
    rows = [["a library, after those above it", "MB while it waits", "CPU ms to import", ""]]
    for one in found.libraries:
        place = "loaded ahead" if one.is_chosen else "beside these"
        rows.append([one.name, f"{one.memory_mb:.1f}", milliseconds(one.cpu_ms), place])
    yield from aligned(rows)
    yield (
        "A plain interpreter that has imported those that are loaded ahead, and nothing else, has"
        f" {found.chosen_mb or NOTHING} MB that are no file's"
    )


def steps(found: Sequence[Comparison]) -> Iterator[str]:
    """Where the time of a request goes."""
    names = list(dict.fromkeys(name for one in found for name in one.steps_ms))
    names = [name for name in names if name != "total"]
    rows = [["inside the service, p50 ms", *names, "total", "containers from"]]
    for one in found:
        rows.append(
            [
                one.title,
                *(
                    f"{one.steps_ms[name]:.1f}" if name in one.steps_ms else NOTHING
                    for name in names
                ),
                f"{one.steps_ms['total']:.1f}" if "total" in one.steps_ms else NOTHING,
                sources(one.containers_from),
            ]
        )
    yield from aligned(rows)
    yield '"program" is a part of "run".'


def errors(report: Report) -> Iterator[str]:
    if not report.failed:
        yield "No errors."
        return
    yield f"{report.failed} ERRORS, which are in none of the times:"
    for name, measured in report.measured():
        for message, count in measured.errors.items():
            yield f"    {count} x {name}: {message}"


def percentiles(measured: Measured) -> list[str]:
    summary = measured.summary
    if summary is None:
        return [NOTHING] * 3
    return [milliseconds(value) for value in (summary.p50, summary.p95, summary.p99)]


def milliseconds(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def verdict(good: bool, known: bool) -> str:
    return ("reached" if good else "MISSED") if known else ""


def sources(found: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(found.items())) or NOTHING


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first column to the left, the others, which are mostly numbers, to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        first, *others = row
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join(cells).rstrip()
        if number == 0:
            yield "-" * (sum(widths) + 2 * (len(widths) - 1))
