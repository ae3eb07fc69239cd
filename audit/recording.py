"""What of a run's texts goes into its row: all of it but secrets, or nothing.

Server and key decide, and the stricter of the two counts. A row says itself what it is without, so
that it stays true when they change their minds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings

from audit.models import Execution
from audit.redaction import redact
from keys.models import APIKey

Record = Execution.Record


def stores_code(key: APIKey) -> bool:
    """Code and arguments."""
    return bool(settings.AUDIT_STORE_CODE and key.credential.store_code)


def stores_output(key: APIKey) -> bool:
    """What the program prints. Whoever shows it while the program runs asks this as well."""
    return bool(settings.AUDIT_STORE_OUTPUT and key.credential.store_output)


def of_request(key: APIKey, code: str, args: Sequence[str]) -> dict[str, Any]:
    """An execution's fields, as it begins."""
    has_code = stores_code(key)
    return {
        "code": redact(code) if has_code else "",
        "args": [redact(arg) for arg in args] if has_code else [],
        "code_record": _record(has_code),
        "output_record": _record(stores_output(key)),
    }


def _record(is_stored: bool) -> str:
    return (Record.STORED if is_stored else Record.NOT_STORED).value


def of_output(execution: Execution, text: str, *, cut: bool = False) -> str:
    """Of stdout or stderr, which may have been `cut`, what its execution keeps."""
    return redact(text, cut=cut) if execution.output_record == Record.STORED else ""
