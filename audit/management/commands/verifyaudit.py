from __future__ import annotations

import argparse
import re
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit import chain
from audit.verifying import KeyMissing, verify

HASH = re.compile(r"[0-9a-f]{64}")
SHOWN = 100


def hash_of_entry(text: str) -> str:
    if not HASH.fullmatch(text):
        raise argparse.ArgumentTypeError("a head is 64 digits and letters from a to f")
    return text


class Command(BaseCommand):
    help = (
        "Check that no execution was changed, removed, added or moved since it was linked into the "
        "chain. Prints the chain's head; exit status 1 if something is wrong."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--head",
            type=hash_of_entry,
            metavar="HASH",
            help="a head that was printed earlier: check that the chain still goes through it",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        chain.link()
        try:
            report = verify(expected_head=options["head"] or "")
        except KeyMissing:
            raise CommandError(
                "Entries were made with a key: set AUDIT_CHAIN_KEY to the one that it was then."
            ) from None
        for number, text in report.findings[:SHOWN]:
            self.stdout.write(f"entry {number}: {text}")
        if len(report.findings) > SHOWN:
            self.stdout.write(f"and {len(report.findings) - SHOWN} more")
        self.stdout.write(
            f"{report.executions} executions, {report.texts_pruned} of them without the texts that"
            f" retention has removed, and {report.rows_pruned} that it has removed whole"
        )
        if report.found_head is not None:
            self.stdout.write(f"the given head is entry {report.found_head}")
        if report.head:
            self.stdout.write(f"head: entry {report.head.number} {report.head.hash}")
            if report.head.keyed and report.unkeyed:
                self.stdout.write(f"{report.unkeyed} entries were made without a key")
        if report.findings:
            raise CommandError(f"The audit log is not as it was: {len(report.findings)} findings.")
