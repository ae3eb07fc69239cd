"""The form in which executions are hashed. It is a promise: what is linked today must be the same
bytes in years, so a change here is another `FORMAT` beside this one, never another meaning of it.

A value's bytes are its JSON in ASCII, with keys in order and no spaces. Times are UTC with six
digits of a second, `2026-11-25T21:54:18.000000Z`. A digest is the SHA-256 of such bytes in hex, or
the HMAC-SHA-256 where the installation has a key for it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from audit import texts
from audit.models import AuditEntry, Execution

FORMAT = 1
GENESIS = "0" * 64
# Every column that is final when a run has ended; the texts have digests of their own.
FACTS = (
    "id",
    "key_id",
    "session_id",
    "container_id",
    "container_source",
    "user_id",
    "entity_id",
    "client_address",
    "language",
    "status",
    "message",
    "exit_code",
    "signal",
    "limits_hit",
    "stdout_bytes",
    "stderr_bytes",
    "created_at",
    "queued_at",
    "lease_token",
    "ended_at",
    "wall_ms",
    "cpu_ms",
    "memory_bytes",
    "step_ms",
)
# Each with the column that says whether the row has it.
TEXTS = {
    "code": "code_record",
    "args": "code_record",
    "stdout": "output_record",
    "stderr": "output_record",
}


def canonical(value: Any) -> bytes:
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_time
    ).encode("ascii")


def _time(value: object) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"{type(value).__name__} has no canonical form")
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def digest(value: Any, key: str = "") -> str:
    return _digest([canonical(value)], key)


def _digest(pieces: Iterable[bytes], key: str) -> str:
    found = hmac.new(key.encode(), digestmod="sha256") if key else hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()


def _in_pieces(value: dict[str, Any], slices: Iterable[str]) -> Iterator[bytes]:
    """The canonical form with the slices as its last value. Each character has the same form
    wherever it stands."""
    before, after = canonical(value | {"value": "/"}).rsplit(b"/", 1)
    yield before
    for text in slices:
        yield canonical(text)[1:-1]
    yield after


def digests(execution: Execution, key: str = "") -> dict[str, str | None]:
    """One for all facts, and one for each text; None for a text that was not stored."""
    facts = {name: getattr(execution, name) for name in FACTS}
    found: dict[str, str | None] = {"facts": digest({"format": FORMAT, "facts": facts}, key)}
    for name, record in TEXTS.items():
        is_stored = getattr(execution, record) != Execution.Record.NOT_STORED
        text: dict[str, Any] = {"format": FORMAT, "text": name}
        if not is_stored:
            found[name] = None
        elif name in texts.COLUMNS:
            found[name] = _digest(_in_pieces(text, texts.slices(execution, name)), key)
        else:
            found[name] = digest(text | {"value": getattr(execution, name)}, key)
    return found


def content_hash(entry: AuditEntry, key: str = "") -> str:
    """Over the digests, so that it can be checked without the texts."""
    content = {"execution": entry.execution_id, "digests": entry.digests}
    return digest({"format": FORMAT, **content}, key)


def entry_hash(entry: AuditEntry, key: str = "") -> str:
    """Over the entry and, by its predecessor's hash, all before it. The number is not in it: the
    place in the chain is."""
    return digest(
        {
            "format": FORMAT,
            "kind": str(entry.kind),
            "content": entry.content_hash,
            "ended_at": entry.ended_at,
            "through": entry.through,
            "linked_at": entry.linked_at,
            "keyed": entry.keyed,
            "previous": entry.previous_hash,
        },
        key,
    )
