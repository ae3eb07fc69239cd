from __future__ import annotations

import os
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.arguments import base_url, positive_float, positive_int

MINUTES = 10.0
CLIENTS = 6
WINDOW_SECONDS = 60.0
LEAST_WINDOWS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    # Empty: a private service is started.
    base_url: str
    api_key: str
    minutes: float
    clients: int
    json: Path | None

    @property
    def windows(self) -> int:
        return max(LEAST_WINDOWS, round(self.minutes * 60 / WINDOW_SECONDS))

    @property
    def window_seconds(self) -> float:
        return self.minutes * 60 / self.windows

    @property
    def life_seconds(self) -> float:
        """Of an unused session and a replaced file: so short that many of them end meanwhile."""
        return max(30.0, self.window_seconds)


def parse(arguments: Sequence[str]) -> Options:
    parser = make_parser()
    given = parser.parse_args(arguments)
    if given.api_key and not given.base_url:
        parser.error("--api-key needs --base-url")
    return Options(
        base_url=given.base_url or "",
        api_key=given.api_key or os.environ.get("BENCH_API_KEY", "") if given.base_url else "",
        minutes=given.minutes,
        clients=given.clients,
        json=given.json,
    )


def make_parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="script/soak",
        description="A mixed load for some time: fails if an answer is wrong, if anything grows"
        " that should not, if anything is left over, or if the service gets slower.",
        epilog="Without --base-url a service is started for it, on a database of its own;"
        " environment variables are its settings. Of another server only the answers and their"
        " latency are judged.",
    )
    parser.add_argument(
        "--minutes",
        type=positive_float,
        default=MINUTES,
        metavar="N",
        help=f"of load, {MINUTES:.0f} by default; slow leaks show after half an hour",
    )
    parser.add_argument(
        "--clients",
        type=positive_int,
        default=CLIENTS,
        metavar="N",
        help=f"at a time, {CLIENTS} by default",
    )
    parser.add_argument(
        "--base-url", type=base_url, metavar="URL", help="of another server, with default settings"
    )
    parser.add_argument(
        "--api-key",
        metavar="KEY",
        help="its key; BENCH_API_KEY keeps it out of the list of processes",
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="for all samples; var/soak/<date>.json by default",
    )
    return parser
