"""How fast the admin's pages are with a million executions: on a database of its own, through the
whole of Django, without a network in between."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from bench.executions import Amount, load
from bench.machine import Machine, this_machine
from bench.progress import Progress
from bench.report import Measured
from bench.service import RESULTS, ROOT, ServiceFailed
from bench.summary import METHOD, Times
from bench.table import aligned, percentiles

# A page that takes long is not asked for as often.
PAGE_SECONDS = 20.0
# What the others are measured without: the keeper has counted the hours that are over.
LIVE = "dashboard, last 30 days, nothing counted ahead"
DASHBOARD = {
    "dashboard, last hour": "/admin/?period=hour",
    "dashboard, last 24 hours": "/admin/?period=day",
    "dashboard, last 7 days": "/admin/?period=week",
    "dashboard, last 30 days": "/admin/?period=month",
}
OTHERS = {
    "executions": "/admin/audit/execution/",
    "executions, those that failed": "/admin/audit/execution/?status__exact=failed",
    "executions, search for an id": "/admin/audit/execution/?q=bench-e-0000000000007",
    "executions, search for a text of many": "/admin/audit/execution/?q=groupby",
    "API keys": "/admin/keys/apikey/",
    "the page of the busiest key": "/admin/keys/apikey/{key}/change/",
}


@dataclass(slots=True, kw_only=True)
class Report:
    date: str
    command: str
    machine: Machine
    executions: int
    days: float
    database_mb: float = 0
    counted_mb: float = 0
    count_seconds: float = 0
    pages: dict[str, Measured] = field(default_factory=dict)

    def as_json(self) -> str:
        return json.dumps(asdict(self) | {"method": METHOD}, indent=1) + "\n"

    def as_text(self) -> Iterator[str]:
        machine = self.machine
        yield ""
        yield f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib} GiB, {machine.kernel}"
        yield f"Python {machine.python}, load before {machine.load_before}"
        yield f"{self.date}: {self.command}"
        yield ""
        rows = [["one page (ms)", "p50", "p95", "p99", "rounds", "errors"]]
        rows += [
            [title, *percentiles(page), str(len(page.milliseconds)), str(page.failed)]
            for title, page in self.pages.items()
        ]
        yield from aligned(rows)
        yield ""
        yield (
            f"{self.executions:,} executions of {self.days:g} days take {self.database_mb:,.0f} MB;"
            f" what is counted ahead {self.counted_mb:,.0f} MB, in {self.count_seconds:,.0f} s."
        )
        yield METHOD
        yield f"ERRORS: {self.failed}" if self.failed else "No errors."

    @property
    def failed(self) -> int:
        return sum(page.failed for page in self.pages.values())


def measure(amount: Amount, rounds: int, command: str, progress: Progress) -> Report:
    report = Report(
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        command=command,
        machine=this_machine("not asked"),
        executions=amount.executions,
        days=amount.days,
    )
    with database() as url:
        start_django(url)
        # Django's own modules cannot be imported before.
        from bench.pages import Admin

        pages = Admin()
        with psycopg.connect(pages.conninfo, autocommit=True) as connection:
            progress.say(f"Making {amount.executions:,} executions")
            load(connection, amount)
            vacuum(connection)
            take(report, {LIVE: DASHBOARD["dashboard, last 30 days"]}, 1, pages, progress)
            progress.say("Counting them, as the keeper does")
            started = time.monotonic()
            pages.count()
            report.count_seconds = round(time.monotonic() - started, 1)
            vacuum(connection)
            report.database_mb = megabytes(connection, "audit_execution")
            report.counted_mb = megabytes(connection, "audit_hourlycount")
            report.counted_mb += megabytes(connection, "audit_hourlydurations")
        take(report, DASHBOARD | OTHERS, rounds, pages, progress)
        pages.close()
    return report


def take(
    report: Report, paths: Mapping[str, str], rounds: int, pages: Any, progress: Progress
) -> None:
    for title, path in paths.items():
        progress.say(title)
        times = Times()
        if rounds > 1:
            pages.get(path)
        deadline = time.monotonic() + PAGE_SECONDS
        for number in range(1, rounds + 1):
            started = time.perf_counter()
            status = pages.get(path)
            if status == 200:
                times.add(time.perf_counter() - started)
            else:
                times.errors[f"HTTP {status}"] += 1
            progress.update(f"{number} of {rounds}")
            if time.monotonic() > deadline:
                break
        report.pages[title] = Measured.of(times)


@contextmanager
def database() -> Iterator[str]:
    RESULTS.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=f"admin-{os.getpid()}-", dir=RESULTS))
    # It has a user of its own, who must get through.
    directory.chmod(0o755)
    try:
        yield postgres("start", directory / "db")
    finally:
        postgres("stop", directory / "db")
        shutil.rmtree(directory)


def postgres(action: str, data: Path) -> str:
    done = subprocess.run(  # noqa: S603 - our own script
        [str(ROOT / "script" / "postgres"), action, str(data)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ServiceFailed(f"script/postgres {action} failed:\n{done.stderr}")
    return done.stdout.strip()


def start_django(url: str) -> None:
    for secret_file in ("SECRET_KEY_FILE", "DATABASE_URL_FILE"):
        os.environ.pop(secret_file, None)
    os.environ |= {
        "DATABASE_URL": url,
        "SECRET_KEY": secrets.token_urlsafe(60),
        "DJANGO_SETTINGS_MODULE": "interpreter_site.settings",
    }
    import django

    django.setup()


def vacuum(connection: psycopg.Connection[Any]) -> None:
    """As autovacuum has done it after a month, and not in the middle of a measurement."""
    connection.execute("VACUUM ANALYZE")


def megabytes(connection: psycopg.Connection[Any], table: str) -> float:
    row = connection.execute("SELECT pg_total_relation_size(%s::regclass)", [table]).fetchone()
    return float(row[0]) / 2**20 if row else 0
