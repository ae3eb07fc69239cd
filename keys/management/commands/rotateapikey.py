from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from keys.management.arguments import add_key_argument, chosen

MAX_HOURS = 24 * 90


def hours(text: str) -> timedelta:
    if not text.isdecimal() or int(text) > MAX_HOURS:
        raise ArgumentTypeError(f"{text!r} is not a number of hours from 0 to {MAX_HOURS}")
    return timedelta(hours=int(text))


class Command(BaseCommand):
    help = (
        "Give an API key another secret. It is the last line of the output and is shown only once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_key_argument(parser)
        parser.add_argument(
            "--grace",
            type=hours,
            default="24",
            metavar="HOURS",
            help="for how long the present secret stays valid, 0 if it has leaked; default: 24",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        key = chosen(options["key"])
        if not key.is_usable:
            raise CommandError(f"API key {key.prefix} ({key.name}) is {key.state}.")
        if not key.rotate(options["grace"]):
            raise CommandError("The key was changed by somebody else just now; try again.")
        until = f"until {key.former_until:%Y-%m-%d %H:%M} UTC" if key.former_until else "no more"
        self.stderr.write(f"API key {key.prefix} ({key.name}). The former secret is valid {until}.")
        self.stderr.write("The new one, shown only now:")
        self.stdout.write(key.secret)
