from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from audit import chain
from audit.checks import DAYS
from audit.retention import due, prune


class Command(BaseCommand):
    help = (
        "Remove what is older than the AUDIT_KEEP_ settings say, as the keeper does once a day; "
        "one pass, for cron."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="say what it would be and remove nothing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for name in DAYS:
            days = getattr(settings, name)
            self.stdout.write(f"{name}: {f'{days:g} days' if days else 'for ever'}")
        chain.link()
        if options["dry_run"]:
            self.stdout.write(f"would remove {due()}")
        else:
            self.stdout.write(f"removed {prune()}")
