"""What a check has found, and what is to be done about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    # It works, but not as well or as safely as it could.
    WARN = "warn"
    FAIL = "fail"
    # Could not be looked at, for a reason that is a finding of its own.
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    # What was looked at, as `engine.socket`.
    check: str
    text: str
    advice: str = ""
    # `--fix` has done what there was to do.
    fixed: bool = False


def ok(check: str, text: str, *, fixed: bool = False) -> Finding:
    return Finding(Level.OK, check, text, fixed=fixed)


def warn(check: str, text: str, advice: str) -> Finding:
    return Finding(Level.WARN, check, text, advice)


def fail(check: str, text: str, advice: str) -> Finding:
    return Finding(Level.FAIL, check, text, advice)


def skip(check: str, text: str) -> Finding:
    return Finding(Level.SKIP, check, text)
