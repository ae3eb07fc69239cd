from __future__ import annotations

import os
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.cases import LIBRARIES, MEMORY, NAMES, START

ROUNDS, SECONDS = 50, 60.0
EXECUTIONS = 1_000_000
QUICK_ROUNDS, QUICK_SECONDS = 5, 5.0
# Only of a service that we have started ourselves we know the image, and see into its containers.
PRIVATE = {START, MEMORY, LIBRARIES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    # Empty: a private service is started.
    base_url: str
    api_key: str
    cases: frozenset[str]
    rounds: int
    seconds: float
    docker: bool
    json: Path | None
    plot: Path | None
    # Measure the admin's pages instead, over so many executions.
    admin: bool
    executions: int


def positive_int(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def positive_float(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def base_url(text: str) -> str:
    try:
        url = urlsplit(text)
        # Looked at here, as it is checked only when it is asked for.
        valid = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ArgumentTypeError("it must be an http:// or https:// address")
    return text


def parse(arguments: Sequence[str]) -> Options:
    parser = make_parser()
    given = parser.parse_args(arguments)
    cases = frozenset(given.only or NAMES)
    if given.base_url:
        if given.only and cases <= PRIVATE:
            parser.error(f"{', '.join(sorted(cases))}: not of another server (--base-url)")
        cases -= PRIVATE
    elif given.api_key:
        parser.error("--api-key needs --base-url")
    if given.admin and (given.base_url or given.only or given.plot):
        parser.error("--admin measures pages of its own: no --base-url, --only or --plot")
    if given.executions and not given.admin:
        parser.error("--executions needs --admin")
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if given.quick else (ROUNDS, SECONDS)
    return Options(
        base_url=given.base_url or "",
        api_key=given.api_key or os.environ.get("BENCH_API_KEY", "") if given.base_url else "",
        cases=cases,
        rounds=given.rounds or rounds,
        seconds=given.seconds or seconds,
        docker=not given.no_docker,
        json=given.json,
        plot=given.plot,
        admin=given.admin,
        executions=given.executions or EXECUTIONS,
    )


def make_parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="script/bench",
        description="How fast the interpreter is, beside `docker exec` into a plain container.",
        epilog="Without --base-url a service is started for it, on a database of its own;"
        " environment variables are its settings.",
    )
    parser.add_argument(
        "--base-url", type=base_url, metavar="URL", help="measure this LibreChat-compatible server"
    )
    parser.add_argument(
        "--api-key",
        metavar="KEY",
        help="its key; BENCH_API_KEY keeps it out of the list of processes",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=NAMES,
        metavar="CASE",
        help=f"can be repeated: {', '.join(NAMES)}",
    )
    parser.add_argument(
        "--rounds", type=positive_int, metavar="N", help=f"of each case, {ROUNDS} by default"
    )
    parser.add_argument(
        "--seconds",
        type=positive_float,
        metavar="N",
        help=f"of each load, {SECONDS:.0f} by default",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{QUICK_ROUNDS} rounds and {QUICK_SECONDS:.0f} seconds, unless given",
    )
    parser.add_argument("--no-docker", action="store_true", help="leave out `docker exec`")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="for all numbers; var/bench/<date>.json by default",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a PNG")
    parser.add_argument(
        "--admin",
        action="store_true",
        help="measure the admin's pages instead, over executions that are made for it",
    )
    parser.add_argument(
        "--executions",
        type=positive_int,
        metavar="N",
        help=f"for --admin, {EXECUTIONS:,} by default",
    )
    return parser
