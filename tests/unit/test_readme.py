"""The README's tables say what the code does."""

import re
from pathlib import Path

from django.conf import settings

from audit.models import LimitHit
from keys.limits import LIMITS
from sandbox.outcome import SENTENCES

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text()
SETTINGS = (ROOT / "interpreter_site" / "settings.py").read_text()
COMPOSE = (ROOT / "compose.yaml").read_text()
# Given by compose.yaml itself, or of no use in its containers.
NOT_IN_COMPOSE = {
    "CODEAPI_JWT_PUBLIC_KEYS_DIR",
    "DATABASE_URL",
    "DEBUG",
    "HOST",
    "PORT",
    "SANDBOX_ENGINE",
    "SANDBOX_SECCOMP",
    "SANDBOX_STORE_DIR",
    "SECRET_KEY",
}
GUNICORN = (ROOT / "interpreter_site" / "gunicorn.conf.py").read_text()


def documented() -> dict[str, str]:
    table = README.split("## Settings", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (`[A-Z].*?) \| (.*?) \|", table, re.MULTILINE)
    found: dict[str, str] = {}
    for names, defaults in rows:
        split = re.findall(r"`([A-Z][A-Z0-9_]*)`", names)
        values = [*map(str.strip, defaults.split(","))] if len(split) > 1 else [defaults]
        found |= dict(zip(split, values, strict=True))
    return found


def test_every_setting_is_documented_and_no_other() -> None:
    read = set(re.findall(r"env\.\w+\(\s*\"([A-Z][A-Z0-9_]*)\"", SETTINGS))
    read |= set(re.findall(r"environ\.get\([\"']([A-Z][A-Z0-9_]*)", GUNICORN))
    assert documented().keys() == read


def test_the_documented_numbers_are_the_defaults() -> None:
    defaults = dict(
        re.findall(r"env\.(?:int|float)\(\"([A-Z][A-Z0-9_]*)\", default=([^)]+)\)", SETTINGS)
    )
    for name, default in defaults.items():
        # Some are computed from settings above them.
        names = {other: getattr(settings, other) for other in re.findall(r"SANDBOX_\w+", default)}
        assert float(documented()[name]) == float(eval(default, names)), name  # noqa: S307


def test_every_limit_can_be_found_by_what_one_sees_of_it() -> None:
    table = README.split("## Limits", 1)[1].split("\n## ", 1)[0]
    for limit in LimitHit:
        assert f"`{limit.value}`" in table
        assert SENTENCES.get(limit, "length exceeded") in table
    for setting in (limit.setting for limit in LIMITS):
        assert f"`{setting}`" in table, setting


def test_compose_passes_every_setting_on() -> None:
    environment = COMPOSE.split("environment: &environment", 1)[1].split("\n  volumes:", 1)[0]
    passed = set(re.findall(r"^    ([A-Z][A-Z0-9_]*):", environment, re.MULTILINE))
    passed -= {"SECRET_KEY_FILE", "DATABASE_URL_FILE", "DOCKER_HOST"}
    assert passed == documented().keys() - NOT_IN_COMPOSE
