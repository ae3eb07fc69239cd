"""All checks, in the order in which one would mend what they find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from django.db import DatabaseError

from sandbox.doctor import (
    clocks,
    configuration,
    database,
    engine,
    images,
    keeping,
    librechat,
    sandboxes,
    secret_files,
    store,
)
from sandbox.errors import SandboxError
from sandbox.findings import Finding, Level, fail, skip


def examine(
    *, fix: bool = False, librechat_env: Path | None = None, librechat_version: str = ""
) -> Iterator[Finding]:
    yield from guarded("settings", configuration.check)
    yield from guarded("secrets", lambda: secret_files.check(fix=fix))
    yield from guarded("store", lambda: store.check(fix=fix))
    has_database = True
    for finding in guarded("database", database.check):
        has_database &= not is_away(finding, "database.reachable")
        yield finding
    if has_database:
        yield from guarded("clock", lambda: iter([clocks.check_database()]))
    has_engine = True
    for finding in guarded("engine", engine.check):
        has_engine &= not is_away(finding, "engine.reachable")
        yield finding
    if has_engine:
        yield from guarded("image", images.check)
        yield from guarded("sandbox", sandboxes.check)
    else:
        yield skip("sandbox", "images and limits are not tried: there is no engine")
    if has_database:
        yield from guarded("keeper", keeping.check)
    else:
        yield skip("keeper", "it cannot be seen without the database")
    if librechat_env:
        yield from guarded(
            "librechat", lambda: librechat.check(librechat_env, librechat_version, has_database)
        )


def is_away(finding: Finding, check: str) -> bool:
    return finding.check == check and finding.level == Level.FAIL


def guarded(check: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """One check that fails for a reason of its own does not keep the others from being made."""
    try:
        yield from look()
    except (DatabaseError, SandboxError, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        yield fail(check, f"could not be looked at: {reason}", "Mend what is above; look again.")
