from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone
from django.utils.dateparse import parse_date

from keys.limits import BY_NAME, Number
from keys.models import APIKey

MAX_DAYS = 36_500


def moment(text: str) -> datetime:
    """A number of days from now, or a date (then until its beginning, UTC)."""
    now = timezone.now()
    try:
        if text.isdecimal() and 0 < int(text) <= MAX_DAYS:
            return now + timedelta(days=int(text))
        day = parse_date(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r}: {error}") from error
    if day is None:
        raise ArgumentTypeError(f"{text!r} is neither a date (2027-12-31) nor a number of days")
    expires_at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    if expires_at <= now:
        raise ArgumentTypeError(f"{text!r} is not in the future")
    return expires_at


def name(text: str) -> str:
    longest = APIKey._meta.get_field("name").max_length or 0
    if not 0 < len(text.strip()) <= longest:
        raise ArgumentTypeError(f"the name must have 1 to {longest} characters")
    return text.strip()


def limit(text: str) -> tuple[str, Number]:
    """A limit of the key's own, as memory_mb=256."""
    name, equals, value = text.partition("=")
    if not equals or name not in BY_NAME:
        known = ", ".join(BY_NAME)
        raise ArgumentTypeError(f"{text!r} is not NAME=VALUE with one of these names: {known}")
    try:
        number = BY_NAME[name].number(value)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r}: {error}") from error
    if refusal := BY_NAME[name].refusal(number):
        raise ArgumentTypeError(f"{text!r}: {refusal}")
    return name, number


class Command(BaseCommand):
    help = "Issue an API key. Its secret is the last line of the output and is shown only once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", type=name, help="whose key it is: a host or a person")
        parser.add_argument(
            "--expires", type=moment, metavar="DATE|DAYS", help="default: it never expires"
        )
        parser.add_argument(
            "--limit",
            type=limit,
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="less of something than the server's setting allows, such as memory_mb=256; may "
            "be given several times",
        )
        parser.add_argument(
            "--if-none", action="store_true", help="do nothing while any usable key exists"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["if_none"] and APIKey.objects.with_secret().usable().exists():
            self.stderr.write("A usable API key exists, so no other was made.")
            return
        key, secret = APIKey.issue(
            name=options["name"], expires_at=options["expires"], limits=dict(options["limit"])
        )
        until = f"until {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else "for good"
        self.stderr.write(f"API key {key.prefix} ({key.name}), {until}. Shown only now:")
        self.stdout.write(secret)
