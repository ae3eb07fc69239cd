from __future__ import annotations

import json
import logging
import sys
from argparse import ArgumentParser
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from sandbox.doctor.examination import examine
from sandbox.findings import Finding, Level
from sandbox.management.arguments import release

STYLES = {
    Level.OK: "SUCCESS",
    Level.WARN: "WARNING",
    Level.FAIL: "ERROR",
    Level.SKIP: "NOTICE",
}


class Command(BaseCommand):
    help = (
        "Check everything that this installation needs: settings, database, file store, engine, "
        "image, and whether limits hold in a container. Exit status 1 when something fails."
    )
    # It makes those checks itself, and goes on.
    requires_system_checks = []  # noqa: RUF012 - as Django has it

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--fix",
            action="store_true",
            help="make the store's directory and close it and files with secrets to others; "
            "nothing that takes long or that a running server would notice",
        )
        parser.add_argument("--json", action="store_true", help="a list of objects, for programs")
        parser.add_argument(
            "--librechat-env",
            type=Path,
            metavar="FILE",
            help="LibreChat's own .env, to look whether its calls would be let in",
        )
        parser.add_argument(
            "--librechat-version",
            type=release,
            metavar="VERSION",
            help="such as 0.8.6; without it, the file is looked at for older and newer ones",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        # Which says each second that it cannot connect; here that is one of the findings.
        logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
        found = []
        version = options["librechat_version"]
        for finding in examine(
            fix=options["fix"],
            librechat_env=options["librechat_env"],
            librechat_version=str(version) if version else "",
        ):
            found.append(finding)
            if not options["json"]:
                self._show(finding)
        counts = Counter(finding.level for finding in found)
        if options["json"]:
            self.stdout.write(json.dumps([asdict(finding) for finding in found], indent=2))
        else:
            self.stdout.write(", ".join(f"{counts[level]} {level}" for level in Level))
        if counts[Level.FAIL]:
            sys.exit(1)

    def _show(self, finding: Finding) -> None:
        style = getattr(self.style, STYLES[finding.level])
        self.stdout.write(f"{style(f'{finding.level:<4}')} {finding.check}: {finding.text}")
        if finding.advice:
            self.stdout.write(f"       {finding.advice}")
        self.stdout.flush()
