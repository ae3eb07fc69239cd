from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from keys.management.arguments import add_key_argument, chosen


class Command(BaseCommand):
    help = "Revoke an API key for good. Its sessions, files and executions stay."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_key_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        key = chosen(options["key"])
        key.revoke()
        self.stderr.write(f"API key {key.prefix} ({key.name}) is revoked.")
