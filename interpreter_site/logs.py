"""How what happens is written down: for machines as JSON, for people as text. One line each, to
stderr, the same of Django, gunicorn and the keeper.

No line holds a secret: what logs takes care of that, and what looks like one is taken out here once
more.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from logging.config import dictConfig
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

from gunicorn.glogging import Logger

from keys.visible import visible
from sandbox import calls

if TYPE_CHECKING:
    from gunicorn.config import Config

ErrorInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)

FORMATS = ("json", "console")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# Our keys, of which the first part is public; keys in a URL; tokens; a URL's password.
SECRETS = re.compile(
    r"(?P<public>lci_[A-Za-z0-9]{10}_)[A-Za-z0-9]{34}"
    r"|(?P<url>/k/)[^/?#\s\"\\]+"
    r"|(?P<token>eyJ)[\w-]+\.[\w-]+\.[\w-]*"
    r"|(?P<user>://[^/:@\s]*:)[^/@\s]+(?=@)"
)
# Of an error's own text. A database's next line can be a whole row.
ERROR_CHARACTERS = 300


# One of these is in each of them, and in few other lines: to look for it costs next to nothing.
SIGNS = ("lci_", "/k/", "eyJ", "://")
TO_JSON = json.JSONEncoder(default=str)


def without_secrets(line: str) -> str:
    if not any(sign in line for sign in SIGNS):
        return line
    return SECRETS.sub(lambda found: f"{found[found.lastgroup or 0]}***", line)


class Line(logging.Formatter):
    def formatException(self, ei: ErrorInfo) -> str:
        """Where, and the first line of what: not what the database says of the row."""
        lines: list[str] = []
        for error in chain(ei[1]):
            lines += ["Traceback (most recent call last):\n"]
            lines += traceback.format_tb(error.__traceback__)
            text = str(error).partition("\n")[0][:ERROR_CHARACTERS]
            lines += [f"{type(error).__qualname__}: {visible(text)}\n"]
        return "".join(lines).rstrip("\n")


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error after what it came from."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return reversed(found)


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """Of the call that is being answered, and of the event itself: `extra={"fields": …}`."""
    call = calls.current.get()
    more: dict[str, Any] = getattr(record, "fields", {})
    return (call.fields() if call else {}) | more


class Unforeseen(logging.Filter):
    """Of Django's words on requests: that an answer had this or that status is in our own line of
    it, with more."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.exc_info is not None


class JSONLine(Line):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return without_secrets(TO_JSON.encode(line))


class ConsoleLine(Line):
    def format(self, record: logging.LogRecord) -> str:
        """What others say cannot begin a line of its own or move the cursor."""
        when = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%d %H:%M:%S")
        message = visible(record.getMessage()).replace("\n", "\N{SYMBOL FOR LINE FEED}")
        more = "".join(f" {name}={value}" for name, value in fields(record).items())
        line = f"{when} {record.levelname} {record.name}: {message}{more}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return without_secrets(line)


def configuration(log_format: str, level: str) -> dict[str, Any]:
    """For `logging.config.dictConfig`, in Django and in gunicorn's own process alike."""
    chosen = log_format or ("console" if sys.stderr.isatty() else "json")
    level = level or "INFO"
    if chosen not in FORMATS:
        raise ValueError(f"LOG_FORMAT is {log_format!r}; it must be one of: {', '.join(FORMATS)}")
    if level.upper() not in LEVELS:
        raise ValueError(f"LOG_LEVEL is {level!r}; it must be one of: {', '.join(LEVELS)}")
    plain: dict[str, Any] = {"handlers": [], "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {"()": "interpreter_site.logs.JSONLine"},
            "console": {"()": "interpreter_site.logs.ConsoleLine"},
        },
        "filters": {"unforeseen": {"()": "interpreter_site.logs.Unforeseen"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": chosen}},
        "root": {"handlers": ["stderr"], "level": level.upper()},
        "loggers": {
            # Its DEBUG is each statement with all values: code, output and digests.
            "django": {**plain, "level": "INFO"},
            "django.request": {**plain, "level": "ERROR", "filters": ["unforeseen"]},
            "gunicorn.error": {**plain, "level": level.upper()},
            "gunicorn.access": {**plain, "level": "INFO"},
        },
    }


def gunicorn_log(log_format: str, level: str) -> type[Logger]:
    """gunicorn's log, written as all else is."""
    chosen = configuration(log_format, level)

    class Log(Logger):
        def setup(self, cfg: Config) -> None:
            super().setup(cfg)
            dictConfig(chosen)

    return Log
