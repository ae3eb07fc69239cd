from __future__ import annotations

import shlex
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from bench import admin, engine
from bench.arguments import Options, parse
from bench.executions import Amount
from bench.machine import this_machine
from bench.measuring import Measuring, service_settings
from bench.progress import Progress
from bench.records import NotReady
from bench.report import Report
from bench.service import RESULTS, ServiceFailed
from bench.table import table

BROKEN_OFF = "BROKEN OFF: what is missing here was not measured"


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    signal.signal(signal.SIGTERM, terminated)
    if options.admin:
        return measure_admin(options, arguments)
    try:
        report = new_report(options, arguments)
    except engine.FAILURES as error:
        sys.stderr.write(f"script/bench: no Docker engine (see --no-docker): {error}\n")
        return 1
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / "progress.log").open("w") as log:
        return measure(options, report, Progress(sys.stderr, log))


def measure(options: Options, report: Report, progress: Progress) -> int:
    status = 1
    try:
        Measuring(options, report, progress).run()
        status = 1 if report.failed else 0
    except (ServiceFailed, NotReady) as error:
        sys.stderr.write(f"script/bench: {error}\n")
        report.notes.append(BROKEN_OFF)
    except KeyboardInterrupt:
        report.notes.append(BROKEN_OFF)
        status = 130
    finally:
        # What was measured in half an hour is not lost to what went wrong after it.
        publish(options, report, progress)
    return status


def measure_admin(options: Options, arguments: list[str]) -> int:
    RESULTS.mkdir(parents=True, exist_ok=True)
    amount = Amount(executions=options.executions)
    command = shlex.join(["script/bench", *arguments])
    try:
        with (RESULTS / "progress.log").open("w") as log:
            progress = Progress(sys.stderr, log)
            report = admin.measure(amount, options.rounds, command, progress)
    except ServiceFailed as error:
        sys.stderr.write(f"script/bench: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    sys.stdout.write("\n".join(report.as_text()) + "\n")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(report.as_json())
    return 1 if report.failed else 0


def publish(options: Options, report: Report, progress: Progress) -> None:
    sys.stdout.write(table(report))
    path = options.json or RESULTS / f"{datetime.now(UTC):%Y-%m-%d-%H%M%S}.json"
    report.write_json(path)
    progress.say(f"All numbers: {shown(path)}")
    if options.plot and report.comparisons:
        # It takes a second to load, and nothing else needs it.
        from bench.plot import draw

        draw(report, options.plot)
        progress.say(f"The plot: {shown(options.plot)}")


def new_report(options: Options, arguments: list[str]) -> Report:
    report = Report(
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        command=shlex.join(["script/bench", *without_key(arguments)]),
        machine=this_machine("not asked"),
        settings=service_settings(options),
        notes=[],
    )
    if options.docker or not options.base_url:
        report.machine = this_machine(engine.describe(engine.connect()))
    return report


def without_key(arguments: list[str]) -> list[str]:
    """Neither the key nor the address, which can have one in it, belongs into a report."""
    kept: list[str] = []
    hide_next = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        secret = name in ("--api-key", "--base-url")
        kept.append("…" if hide_next else f"{name}=…" if secret and equals else argument)
        hide_next = secret and not equals
    return kept


def shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def terminated(number: int, frame: object) -> None:
    """As Ctrl-C does: everything that was started is stopped."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
