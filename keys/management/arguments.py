"""What the commands for keys read from their command line."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime, timedelta

from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date

from keys import images
from keys.limits import BY_NAME, Number
from keys.models import APIKey
from keys.models.credential import NAME_LENGTH, OWNER_LENGTH
from keys.networks import HINT, why_not_a_network
from keys.quotas import QUOTA_BY_NAME

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
    if not 0 < len(text.strip()) <= NAME_LENGTH:
        raise ArgumentTypeError(f"the name must have 1 to {NAME_LENGTH} characters")
    return text.strip()


def owner(text: str) -> str:
    if len(text.strip()) > OWNER_LENGTH:
        raise ArgumentTypeError(f"the owner must have up to {OWNER_LENGTH} characters")
    return text.strip()


def network(text: str) -> str:
    if reason := why_not_a_network(text):
        raise ArgumentTypeError(f"{text!r} is not a network ({reason}). {HINT}")
    return text


def image(text: str) -> str:
    if refusal := images.refusal(text):
        raise ArgumentTypeError(refusal)
    return "" if text == images.DEFAULT else text


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


def quota(text: str) -> tuple[str, int]:
    """A quota of the key's own, as runs_per_hour=100."""
    name, equals, value = text.partition("=")
    if not equals or name not in QUOTA_BY_NAME:
        known = ", ".join(QUOTA_BY_NAME)
        raise ArgumentTypeError(f"{text!r} is not NAME=VALUE with one of these names: {known}")
    try:
        number = int(value)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r}: {error}") from error
    if refusal := QUOTA_BY_NAME[name].refusal(number):
        raise ArgumentTypeError(f"{text!r}: {refusal}")
    return name, number


def add_key_argument(parser: ArgumentParser) -> None:
    parser.add_argument(
        "key", help="how it begins (lci_ and ten characters, as listapikeys shows it), or its name"
    )


def chosen(text: str) -> APIKey:
    """The key that is meant. A whole secret will do, but belongs on no command line."""
    keys = APIKey.objects.with_secret()
    prefix = text.removeprefix("lci_").partition("_")[0].rstrip("…")
    found = list(keys.filter(prefix=prefix)) or list(keys.filter(name=text, revoked_at=None))
    match found:
        case [key]:
            return key
        case []:
            raise CommandError(f"There is no key {text!r}; listapikeys shows all.")
    raise CommandError(
        f"{len(found)} keys are named {text!r}; say which one by how it begins: "
        + ", ".join(f"lci_{key.prefix}" for key in found)
    )
