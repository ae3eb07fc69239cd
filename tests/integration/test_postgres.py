"""The embedded Postgres of script/server and script/test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import environ
import psycopg
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "script" / "postgres"


def postgres(action: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, action, directory], capture_output=True, text=True, timeout=120, check=False
    )


def started(directory: Path) -> str:
    answer = postgres("start", directory)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


def connected(url: str) -> psycopg.Connection[tuple[str]]:
    """As Django does it."""
    database = environ.Env.db_url_config(url)
    return psycopg.connect(
        host=database["HOST"], user=database["USER"], dbname=database["NAME"], connect_timeout=5
    )


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    # pytest's directories are closed to other users, as /root is.
    where = tmp_path / "it's a name"
    yield where
    postgres("stop", where)


def test_data_outlive_a_stop(directory: Path) -> None:
    with connected(started(directory)) as connection:
        connection.execute("create table kept as select 'Größe' as text")
    assert postgres("running", directory).returncode == 0
    assert postgres("stop", directory).returncode == 0
    assert postgres("running", directory).returncode != 0
    with connected(started(directory)) as connection:
        assert connection.execute("select lower(text) from kept").fetchone() == ("größe",)


def test_a_running_server_is_found_again(directory: Path) -> None:
    url = started(directory)
    process = (directory / "postmaster.pid").read_text()
    assert started(directory) == url
    assert (directory / "postmaster.pid").read_text() == process


def test_it_recovers_from_being_killed(directory: Path) -> None:
    with connected(started(directory)) as connection:
        connection.execute("create table kept as select 1")
    number = int((directory / "postmaster.pid").read_text().split()[0])
    os.kill(number, 9)
    with connected(started(directory)) as connection:
        assert connection.execute("select count(*)::text from kept").fetchone() == ("1",)


def test_a_stale_process_number_misleads_nobody(directory: Path) -> None:
    """After a crash of the machine, postmaster.pid names a process that is something else now."""
    started(directory)
    left_behind = (directory / "postmaster.pid").read_text()
    postgres("stop", directory)
    with subprocess.Popen(["sleep", "60"]) as bystander:
        first, rest = left_behind.split("\n", 1)
        assert int(first) != bystander.pid
        (directory / "postmaster.pid").write_text(f"{bystander.pid}\n{rest}")
        assert postgres("running", directory).returncode != 0
        postgres("stop", directory)
        assert bystander.poll() is None
        with connected(started(directory)):
            bystander.kill()


def test_only_its_own_user_can_reach_the_socket(directory: Path) -> None:
    started(directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert list(directory.glob(".s.PGSQL.*"))
    settings = (directory / "postmaster.opts").read_text()
    assert '"-h" ""' in settings


def test_a_path_too_long_for_a_socket_is_no_obstacle(tmp_path: Path) -> None:
    directory = tmp_path / ("long" * 30)
    try:
        with connected(started(directory)) as connection:
            host = Path(connection.info.host)
            assert host.stat().st_mode & 0o777 == 0o700
    finally:
        postgres("stop", directory)
        host.rmdir()


def test_no_lock_of_the_caller_is_kept_open(directory: Path) -> None:
    started(directory)
    number = (directory / "postmaster.pid").read_text().split()[0]
    opened = {str(link.readlink()) for link in Path(f"/proc/{number}/fd").iterdir()}
    assert not [name for name in opened if name.endswith(".lock")]
