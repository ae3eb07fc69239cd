"""A pytest plugin, loaded before Django's settings are: gives them what they require.

Without DATABASE_URL the tests have an embedded Postgres of their own.
"""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
POSTGRES = ROOT / "script" / "postgres"
DATA = ROOT / "var" / "test-postgres"

os.environ.setdefault("SECRET_KEY", "only for tests")
os.environ.setdefault("SANDBOX_INSTALLATION", f"test-{os.getpid()}")


def postgres(action: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(POSTGRES), action, str(DATA), *options]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)


started = False
if "DATABASE_URL" not in os.environ:
    started = postgres("running").returncode != 0
    # What a test writes need not survive a power cut.
    answer = postgres("start", "-c", "fsync=off")
    answer.check_returncode()
    os.environ["DATABASE_URL"] = answer.stdout.strip()


def pytest_unconfigure(config: pytest.Config) -> None:
    if started:
        postgres("stop")
