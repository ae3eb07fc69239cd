"""Whether rows, store and engine agree, and nothing is left of what has ended."""

from __future__ import annotations

import hashlib
import subprocess
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, LiteralString

import psycopg

from bench.records import conninfo

# How long after its time the keeper may find something: two of its rounds, on a slow machine.
SLACK_SECONDS = 30.0
# What was seen in a moment at which it was just being done is gone at the next look.
AGAIN_SECONDS = 2.0

# Each names what should not be there while nobody uses the service.
ROWS: dict[str, LiteralString] = {
    "run that never ended": "SELECT id FROM audit_execution WHERE status = 'running'",
    "session still leased": (
        # One whose time is over is nobody's, and stays in the row until the next run.
        "SELECT id FROM audit_sandboxsession WHERE lease_expires_at > now()"
    ),
    "container still leased": "SELECT id FROM audit_sandboxcontainer WHERE state = 'leased'",
    "container that never started": (
        "SELECT id FROM audit_sandboxcontainer"
        " WHERE state = 'starting' AND created_at < now() - %(slack)s::interval"
    ),
    "ended container that was not removed": (
        "SELECT id FROM audit_sandboxcontainer WHERE state = 'gone' AND removed_at IS NULL"
        " AND ended_at < now() - %(slack)s::interval"
    ),
    "expired session that goes on": (
        "SELECT id FROM audit_sandboxsession"
        " WHERE ended_at IS NULL AND expires_at < now() - %(slack)s::interval"
    ),
    "file of a session that has ended": (
        "SELECT file.id FROM audit_sandboxfile file"
        " JOIN audit_sandboxsession session ON session.id = file.session_id"
        " WHERE file.deleted_at IS NULL"
        " AND LEAST(session.ended_at, session.expires_at) < now() - %(slack)s::interval"
    ),
    "version replaced long ago": (
        "SELECT file.id FROM audit_sandboxfile file"
        " WHERE file.deleted_at IS NULL"
        " AND file.superseded_at < now() - %(life)s::interval - %(slack)s::interval AND NOT EXISTS"
        " (SELECT FROM audit_sandboxinput used WHERE used.file_id = file.id)"
    ),
}
# Whether the session has ended: then its bytes go before its rows.
FILES: LiteralString = """
    SELECT left(session.id, 2) || '/' || session.id || '/' || file.id, file.size, file.sha256,
        session.ended_at IS NOT NULL
    FROM audit_sandboxfile file JOIN audit_sandboxsession session ON session.id = file.session_id
    WHERE file.deleted_at IS NULL
"""
# All that the engine may still have.
CONTAINERS: LiteralString = (
    "SELECT 'interpreter-' || id, state FROM audit_sandboxcontainer WHERE removed_at IS NULL"
)
USABLE = ("warm", "idle")


class Leftovers(AbstractContextManager["Leftovers"]):
    def __init__(
        self,
        *,
        database_url: str,
        store: Path,
        installation: str,
        docker: Iterable[str] = ("docker",),
        life_seconds: float = 48 * 3600,
    ) -> None:
        self._connection = psycopg.connect(conninfo(database_url), autocommit=True)
        self._store = store
        self._installation = installation
        self._docker = tuple(docker)
        self._life = life_seconds

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def find(self) -> list[str]:
        """What is there and should not be, or should be and is not."""
        found = self._look()
        if found:
            time.sleep(AGAIN_SECONDS)
            again = self._look()
            found = [each for each in found if each in again]
        return found

    def settle(self, seconds: float) -> list[str]:
        """What the keeper has not seen to after so long."""
        deadline = time.monotonic() + seconds
        while (found := self.find()) and time.monotonic() < deadline:
            time.sleep(AGAIN_SECONDS)
        return found

    def find_in_store(self) -> list[str]:
        """Directories that are of no use any more, and every byte that is another than its row
        says."""
        empty = [path for path in self._directories() if not any(path.iterdir())]
        return [
            *(f"empty directory: {path.relative_to(self._store)}" for path in empty),
            *(
                f"other bytes than its row says: {key}"
                for key, size, sha256, has_ended in self._rows(FILES)
                if not has_ended and digest_and_size(self._store / key) != (sha256, size)
            ),
        ]

    def stored_bytes(self) -> int:
        total = 0
        for path in self._kept().values():
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def _look(self) -> list[str]:
        found = []
        interval = {"slack": f"{SLACK_SECONDS} seconds", "life": f"{self._life} seconds"}
        for what, query in ROWS.items():
            found += [f"{what}: {pk}" for (pk,) in self._rows(query, interval)]
        return found + self._files() + self._containers()

    def _files(self) -> list[str]:
        rows = self._rows(FILES)
        kept = self._kept()
        lost = {key for key, _, _, has_ended in rows if not has_ended} - kept.keys()
        unknown = kept.keys() - {key for key, *_ in rows}
        return [
            *(f"row without its bytes: {key}" for key in sorted(lost)),
            *(f"bytes without a row: {key}" for key in sorted(unknown)),
            *(f"temporary file: {path}" for path in self._store.glob(".incoming/*/*")),
        ]

    def _containers(self) -> list[str]:
        states = dict(self._rows(CONTAINERS))
        present = self.containers()
        usable = {name for name, state in states.items() if state in USABLE}
        return [
            *(f"container without a row: {name}" for name in sorted(present.keys() - states)),
            *(f"row without its container: {name}" for name in sorted(usable - present.keys())),
            *(
                f"container that does not run: {name}"
                for name in sorted(usable & present.keys())
                if present[name] != "running"
            ),
        ]

    def containers(self) -> dict[str, str]:
        """Name to state of what the service has on its engine."""
        label = f"label=interpreter.installation={self._installation}"
        listed = subprocess.run(  # noqa: S603 - the command is ours
            [*self._docker, "ps", "--all", "--filter", label, "--format", "{{.Names}} {{.State}}"],
            capture_output=True,
            text=True,
            check=True,
        )
        return dict(line.split(maxsplit=1) for line in listed.stdout.splitlines())

    def _kept(self) -> dict[str, Path]:
        """By the names that their rows have for them."""
        kept = {}
        for directory in self._directories():
            # The keeper may just be removing it.
            with suppress(FileNotFoundError):
                for path in list(directory.iterdir()):
                    kept[str(path.relative_to(self._store))] = path
        return kept

    def _directories(self) -> list[Path]:
        """Of sessions."""
        return list(self._store.glob("[!.]*/*"))

    def _rows(
        self, query: LiteralString, values: dict[str, str] | None = None
    ) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values).fetchall()


def digest_and_size(path: Path) -> tuple[str, int]:
    data = path.read_bytes() if path.exists() else b""
    return hashlib.sha256(data).hexdigest(), len(data)
