"""One line for each event, for machines or for people, and no secret in it."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import psycopg
import pytest

from audit.ids import new_id
from interpreter_site import logs
from keys.secret import new_secret
from sandbox.calls import Call, current

SECRET = new_secret("abcdefghij")
TOKEN = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"


def record(message: str, *args: object, **more: Any) -> logging.LogRecord:
    return logging.LogRecord("a.logger", logging.WARNING, "a.py", 1, message, args, None, **more)


def failed(error: BaseException) -> logging.LogRecord:
    try:
        raise error
    except type(error):
        made = record("it failed")
        made.exc_info = sys.exc_info()
        return made


def test_a_line_of_json_has_what_is_known_of_the_call() -> None:
    call = Call(new_id(), key="abcdefghij", session=new_id())
    token = current.set(call)
    try:
        line = json.loads(logs.JSONLine().format(record("of %s", "it")))
    finally:
        current.reset(token)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "logger": "a.logger",
        "message": "of it",
        "request_id": call.id,
        "key": "abcdefghij",
        "session": call.session,
    }


@pytest.mark.parametrize("formatter", [logs.JSONLine(), logs.ConsoleLine()])
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"key {SECRET}", "lci_abcdefghij_***"),
        (f"GET /k/{SECRET}/exec", "/k/***/exec"),
        ("GET /k/anything/exec", "/k/***/exec"),
        (f"Bearer {TOKEN}", "Bearer eyJ***"),
        ("postgres://user:pa55word@db/name", "postgres://user:***@db/name"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(
    formatter: logging.Formatter, text: str, shown: str
) -> None:
    for each in (record(text), failed(RuntimeError(text))):
        line = formatter.format(each)
        assert shown in line
        assert not any(secret in line for secret in (SECRET, TOKEN, "anything", "pa55word"))


@pytest.mark.parametrize("formatter", [logs.JSONLine(), logs.ConsoleLine()])
def test_an_error_is_told_without_the_row_that_a_database_adds(
    formatter: logging.Formatter,
) -> None:
    row = "null value in column\nDETAIL:  Failing row contains (print('hunter2'))"
    error = ValueError("around it")
    error.__cause__ = psycopg.errors.NotNullViolation(row)
    line = formatter.format(failed(error))
    assert "ValueError: around it" in line
    assert "NotNullViolation: null value in column" in line
    assert "hunter2" not in line


def test_nobody_begins_a_line_of_text() -> None:
    line = logs.ConsoleLine().format(record("from %s", "me\n2026-01-01 ERROR forged\x1b[2J"))
    assert "\n" not in line
    assert "\x1b" not in line


def test_a_wrong_setting_says_what_is_right() -> None:
    with pytest.raises(ValueError, match="LOG_FORMAT is 'xml'; it must be one of: json, console"):
        logs.configuration("xml", "INFO")
    with pytest.raises(ValueError, match="LOG_LEVEL is 'LOUD'; it must be one of: DEBUG"):
        logs.configuration("json", "LOUD")
