"""The issuer that the environment describes, in the words of LibreChat's official server."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from django.conf import settings

from keys.public_keys import InvalidKeys, PublicKey, parse


def is_configured() -> bool:
    return any(
        (
            settings.CODEAPI_JWT_PUBLIC_KEY,
            settings.CODEAPI_JWT_JWKS_JSON,
            settings.CODEAPI_JWT_PUBLIC_KEYS_DIR,
        )
    )


def public_keys() -> tuple[PublicKey, ...]:
    """All together. A directory is looked at each time, so a key put there counts at once."""
    keys: tuple[PublicKey, ...] = ()
    if text := settings.CODEAPI_JWT_JWKS_JSON:
        keys += _named("CODEAPI_JWT_JWKS_JSON", text)
    if text := settings.CODEAPI_JWT_PUBLIC_KEY:
        keys += _named("CODEAPI_JWT_PUBLIC_KEY", text, settings.CODEAPI_JWT_KID)
    if directory := settings.CODEAPI_JWT_PUBLIC_KEYS_DIR:
        for path in _files(Path(directory)):
            keys += _of_file(path)
    return keys


def _named(source: str, text: str, kid: str = "") -> tuple[PublicKey, ...]:
    try:
        return parse(text, kid) if kid else parse(text)
    except InvalidKeys as error:
        raise InvalidKeys(f"{source}: {error}") from error


def _files(directory: Path) -> list[Path]:
    """Hidden ones are not meant: Kubernetes keeps its own bookkeeping among mounted secrets."""
    try:
        return sorted(
            path for path in directory.iterdir() if path.is_file() and not path.name.startswith(".")
        )
    except OSError as error:
        raise InvalidKeys(f"CODEAPI_JWT_PUBLIC_KEYS_DIR: {error}") from error


def _of_file(path: Path) -> tuple[PublicKey, ...]:
    """A file is named after its key's kid."""
    try:
        status = path.stat()
        text = _read(path, status.st_mtime_ns, status.st_size, status.st_ino)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidKeys(f"CODEAPI_JWT_PUBLIC_KEYS_DIR: {path}: {error}") from error
    return _named(f"CODEAPI_JWT_PUBLIC_KEYS_DIR: {path}", text, path.stem)


@lru_cache(maxsize=64)
def _read(path: Path, modified: int, size: int, inode: int) -> str:
    return path.read_text()
