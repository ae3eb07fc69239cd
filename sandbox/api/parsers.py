from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from sandbox.api.errors import BodyTooLarge

MB = 1024 * 1024
# Of all lists and objects of a body. A value takes some 60 bytes of memory or more, and one byte of
# the body.
MAX_VALUES = 100_000
# Never fails to match from a quotation mark on, so that any body is gone through once.
STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


class BoundedJSONParser(BaseParser):
    """JSON of a limited size, also where no length was announced, and of any depth."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        limit = settings.SANDBOX_BODY_MB * MB
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise BodyTooLarge
        if len(body) < announced(parser_context):
            raise ParseError("The body is shorter than its Content-Length says.")
        if has_too_many_values(body):
            raise ParseError("The JSON has too many values.")
        try:
            return json.loads(body, parse_constant=refuse_constant)
        except RecursionError as error:
            raise ParseError("The JSON is nested too deeply.") from error
        except ValueError as error:
            raise ParseError("The body is not valid JSON.") from error


def announced(parser_context: Mapping[str, Any] | None) -> int:
    """How many bytes the client has said that the body has; 0 where it has not."""
    request = (parser_context or {}).get("request")
    # Of a chunked body the length is one that we have made up.
    if request is None or "HTTP_TRANSFER_ENCODING" in request.META:
        return 0
    length: str = request.META.get("CONTENT_LENGTH", "")
    return int(length) if length.isdecimal() else 0


def has_too_many_values(body: bytes) -> bool:
    """Each but the first of a list or an object comes after a comma, and depth is limited anyway.
    Mostly a glance is enough; commas in strings are a program's."""
    return body.count(b",") > MAX_VALUES and STRING.sub(b"", body).count(b",") > MAX_VALUES


def refuse_constant(name: str) -> NoReturn:
    """Python would read NaN and Infinity, which are no JSON."""
    raise ValueError(name)
