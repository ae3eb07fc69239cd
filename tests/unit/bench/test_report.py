from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.machine import Machine
from bench.plot import draw
from bench.report import (
    Comparison,
    Libraries,
    Library,
    Measured,
    Memory,
    Report,
    Start,
    Throughput,
    Transfer,
)
from bench.summary import Times
from bench.table import table

MACHINE = Machine(
    cpu="Some CPU",
    cores=2,
    memory_gib=8.0,
    kernel="Linux 6.1",
    engine="Docker 27",
    python="3.11.7",
    load_before=0.1,
)


def measured(milliseconds: Sequence[float], **errors: int) -> Measured:
    return Measured.of(Times(list(milliseconds), Counter(errors)))


def report(*comparisons: Comparison) -> Report:
    return Report(
        date="2026-11-23 14:00 UTC",
        command="script/bench --quick",
        machine=MACHINE,
        settings={"SANDBOX_CPUS": "0.5"},
        notes=[],
        comparisons=list(comparisons),
    )


def comparison(
    ours: Measured, theirs: Measured | None, *, target: float = 0.25, **steps: float
) -> Comparison:
    return Comparison(
        case="print",
        title="print(1)",
        target=target,
        ours=ours,
        docker_exec=theirs,
        steps_ms=steps,
    )


def row(text: str, start: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return line.removeprefix(start).split()


def test_a_row_has_both_sides_and_the_ratio_of_their_medians() -> None:
    text = table(report(comparison(measured([10, 20, 30]), measured([100, 100, 1000]))))
    assert row(text, "print(1)") == [
        *("20.0", "29.0", "29.8"),
        *("100", "910", "982"),
        *("0.200", "<=", "0.25", "reached", "3", "0"),
    ]
    assert "No errors." in text


def test_a_target_that_was_not_reached_is_said_to_be_missed() -> None:
    text = table(report(comparison(measured([60]), measured([100]))))
    assert "0.600" in text
    assert row(text, "print(1)")[-3:] == ["MISSED", "1", "0"]


def test_without_docker_exec_there_is_neither_ratio_nor_verdict() -> None:
    text = table(report(comparison(measured([60]), None)))
    assert row(text, "print(1)") == [
        *("60.0", "60.0", "60.0", "-", "-", "-", "-", "<=", "0.25", "1", "0")
    ]


def test_errors_of_both_sides_are_counted_and_told() -> None:
    one = comparison(measured([60], refused=2), measured([100], broken=1))
    found = report(one)
    text = table(found)
    assert found.failed == 3
    assert row(text, "print(1)")[-2:] == ["1", "3"]
    assert "2 x print: refused" in text
    assert "1 x print, docker exec: broken" in text


def test_a_case_in_which_nothing_worked_is_still_a_row() -> None:
    text = table(report(comparison(measured([], refused=5), measured([100]))))
    assert row(text, "print(1)")[0] == "-"
    assert row(text, "print(1)")[-1] == "5"


def test_load_reaches_its_target_only_without_errors() -> None:
    found = report()
    for errors in (0, 1):
        found.throughputs.append(
            Throughput(
                case="throughput-new",
                title=f"with {errors} errors",
                target=6,
                clients=8,
                seconds=10,
                runs=measured([100.0] * 80, **({"HTTP 503": 1} if errors else {})),
            )
        )
    text = table(found)
    assert row(text, "with 0 errors")[2:6] == ["8.0", ">=", "6", "reached"]
    assert row(text, "with 1 errors")[2:6] == ["8.0", ">=", "6", "MISSED"]


def test_speeds_come_from_each_parts_median() -> None:
    found = report()
    parts = (measured([1000]), measured([500]), measured([400]), measured([100]))
    total, upload, run, download = parts
    found.transfers.append(
        Transfer(
            case="50mb",
            title="50 MB",
            megabytes=50,
            total=total,
            upload=upload,
            run=run,
            download=download,
        )
    )
    assert row(table(found), "50 MB") == [
        *("1,000", "1,000", "1,000", "100.0", "125.0", "500.0", "1", "0")
    ]
    speeds = json.loads(found.as_json())["transfers"][0]["megabytes_per_second"]
    assert speeds == {"upload": 100.0, "run": 125.0, "download": 500.0}


def test_the_total_comes_last_and_is_the_services_own() -> None:
    steps = {"session": 5.0, "total": 46.0, "run": 40.0, "program": 30.0}
    one = comparison(measured([60]), None, **steps)
    lines = table(report(one)).splitlines()
    (header,) = [number for number, line in enumerate(lines) if line.startswith("inside")]
    assert lines[header + 2].split() == ["print(1)", "5.0", "40.0", "30.0", "46.0", "-"]


def test_start_and_memory_are_told() -> None:
    found = report()
    found.start = Start(times=measured([500, 600, 700]))
    found.memory = Memory(
        processes=2, pss_mb=70.5, anonymous_mb=60.0, alone_mb=75.0, charged_mb=None
    )
    text = table(found)
    assert "hot after 600 ms" in text
    assert "70.5 MB (PSS of 2 processes, 60.0 MB of it" in text
    assert "75.0 MB if no other" in text


def test_libraries_are_told_with_what_each_costs_and_saves() -> None:
    found = report()
    found.libraries = Libraries(
        chosen_mb=40.2,
        libraries=[
            Library(name="numpy", is_chosen=True, cpu_ms=50.0, memory_mb=8.2),
            Library(name="sympy", is_chosen=False, cpu_ms=229.0, memory_mb=31.4),
        ],
    )
    text = table(found)
    assert row(text, "numpy") == ["8.2", "50.0", "loaded", "ahead"]
    assert row(text, "sympy") == ["31.4", "229", "beside", "these"]
    assert "nothing else, has 40.2 MB" in text


def test_a_library_that_cannot_be_imported_is_an_error() -> None:
    found = report()
    found.libraries = Libraries(errors={"exit code 1: no module": 1})
    assert found.failed == 1
    assert "1 x libraries: exit code 1: no module" in table(found)


def test_json_has_every_time_and_how_it_was_measured() -> None:
    content = json.loads(report(comparison(measured([10, 20, 30]), measured([100]))).as_json())
    (one,) = content["comparisons"]
    assert one["ratio"] == 0.2
    assert one["ours"]["milliseconds"] == [10, 20, 30]
    assert one["ours"]["summary"] == {"count": 3, "p50": 20, "p95": 29, "p99": 29.8}
    assert content["machine"]["cpu"] == "Some CPU"
    assert "interpolate" in content["method"]


@pytest.mark.filterwarnings("error")
def test_the_plot_is_a_png(tmp_path: Path) -> None:
    both = comparison(measured([10, 20, 30]), measured([100]))
    failed = comparison(measured([], refused=1), measured([100]))
    alone = comparison(measured([10]), None)
    path = tmp_path / "plots" / "bench.png"
    draw(report(both, failed, alone), path)
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
