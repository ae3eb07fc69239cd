from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from sandbox.api.errors import BodyTooLarge

MB = 1024 * 1024


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
        try:
            return json.loads(body, parse_constant=refuse_constant)
        except RecursionError as error:
            raise ParseError("The JSON is nested too deeply.") from error
        except ValueError as error:
            raise ParseError("The body is not valid JSON.") from error


def refuse_constant(name: str) -> NoReturn:
    """Python would read NaN and Infinity, which are no JSON."""
    raise ValueError(name)
