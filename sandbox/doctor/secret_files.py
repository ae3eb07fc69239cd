"""Files that hold secrets: nobody else on this machine is to read them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from sandbox.findings import Finding, fail, ok

SECRETS = ("SECRET_KEY", "DATABASE_URL")
OTHERS = stat.S_IRWXO


def check(*, fix: bool) -> Iterator[Finding]:
    for name, path in _files():
        yield _check(name, path, fix=fix)


def _files() -> Iterator[tuple[str, Path]]:
    for name in SECRETS:
        if path := os.environ.get(f"{name}_FILE"):
            yield f"{name}_FILE", Path(path)
    # What compose.yaml reads its settings from.
    dotenv = settings.BASE_DIR / ".env"
    if dotenv.exists():
        yield ".env", dotenv


def _check(name: str, path: Path, *, fix: bool) -> Finding:
    check = f"secrets.{name}"
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if not mode & OTHERS:
            return ok(check, f"{path} is closed to others")
        if fix:
            path.chmod(mode & ~OTHERS)
            return ok(check, f"{path} is closed to others now", fixed=True)
    except OSError as error:
        return fail(check, f"{path}: {error.strerror}", "Correct the path, or its owner.")
    return fail(check, f"everybody on this machine can open {path}", f"chmod o-rwx {path}")
