"""The doctor on a set-up that is right and on ones that are not; what needs a container is in
tests/integration."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from pytest_django import Settings

from sandbox import keeper
from sandbox.doctor import clocks, configuration, database, engine, images, keeping, secret_files
from sandbox.doctor import store as store_check
from sandbox.doctor.engine import check_access
from sandbox.engines.base import EngineInfo
from sandbox.findings import Finding, Level
from tests.fakes.engine import FakeEngine


def levels(found: Iterator[Finding]) -> dict[str, Level]:
    return {finding.check: finding.level for finding in found}


def test_a_store_that_is_right(store_dir: Path) -> None:
    store_dir.mkdir(mode=0o700)
    assert levels(store_check.check(fix=False)) == {
        "store.directory": Level.OK,
        "store.write": Level.OK,
        "store.mode": Level.OK,
        "store.room": Level.OK,
        "store.inodes": Level.OK,
    }
    assert list(store_dir.iterdir()) == []


def test_a_store_that_is_not_there_is_made_when_asked_for(store_dir: Path) -> None:
    assert levels(store_check.check(fix=False)) == {"store.directory": Level.WARN}
    assert not store_dir.exists()
    assert set(levels(store_check.check(fix=True)).values()) == {Level.OK}
    assert store_dir.stat().st_mode & 0o077 == 0


def test_a_store_that_nobody_can_make(settings: Settings) -> None:
    settings.SANDBOX_STORE_DIR = Path("/dev/null/files")
    for fix in (False, True):
        assert levels(store_check.check(fix=fix)) == {"store.directory": Level.FAIL}


def test_a_store_that_others_can_read_is_closed_when_asked_for(store_dir: Path) -> None:
    store_dir.mkdir()
    store_dir.chmod(0o755)
    assert levels(store_check.check(fix=False))["store.mode"] == Level.WARN
    assert levels(store_check.check(fix=True))["store.mode"] == Level.OK
    assert store_dir.stat().st_mode & 0o777 == 0o750


def test_a_store_that_cannot_be_written(settings: Settings) -> None:
    # Where not even root makes a file.
    settings.SANDBOX_STORE_DIR = Path("/proc/self")
    assert levels(store_check.check(fix=False))["store.write"] == Level.FAIL


def test_a_store_without_room(settings: Settings, store_dir: Path) -> None:
    store_dir.mkdir()
    settings.SANDBOX_FILES_MB = 10**9
    assert levels(store_check.check(fix=False))["store.room"] == Level.FAIL


@pytest.mark.parametrize("name", ["SECRET_KEY_FILE", "DATABASE_URL_FILE"])
def test_a_secret_that_others_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / "secret"
    path.write_text("x")
    path.chmod(0o644)
    monkeypatch.setenv(name, str(path))
    assert levels(secret_files.check(fix=False)) == {f"secrets.{name}": Level.FAIL}
    assert levels(secret_files.check(fix=True)) == {f"secrets.{name}": Level.OK}
    assert path.stat().st_mode & 0o777 == 0o640
    path.unlink()
    assert levels(secret_files.check(fix=True)) == {f"secrets.{name}": Level.FAIL}


@pytest.mark.parametrize(("mode", "level"), [(0o660, Level.OK), (0o666, Level.FAIL)])
def test_a_socket_that_everybody_can_write_to(tmp_path: Path, mode: int, level: Level) -> None:
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(mode)
        assert check_access(f"unix://{path}").level == level


@pytest.mark.parametrize(
    ("host", "level"),
    [
        ("tcp://10.0.0.5:2375", Level.FAIL),
        ("tcp://127.0.0.1:2375", Level.WARN),
        ("tcp://localhost:2375", Level.WARN),
        ("ssh://docker@10.0.0.5", Level.OK),
        ("unix:///there/is/none.sock", Level.SKIP),
    ],
)
def test_who_can_reach_the_engine(host: str, level: Level) -> None:
    assert check_access(host).level == level


def test_an_engine_that_asks_for_a_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    assert check_access("tcp://10.0.0.5:2376").level == Level.OK


@pytest.fixture
def no_engine(fake: FakeEngine) -> Iterator[None]:
    fake.down = True
    yield
    fake.down = False


@pytest.mark.usefixtures("no_engine")
def test_an_engine_that_is_down() -> None:
    assert levels(engine.check())["engine.reachable"] == Level.FAIL


@pytest.mark.parametrize(
    ("changes", "check", "level"),
    [
        ({"unsupported": ("swap",)}, "engine.cgroups", Level.WARN),
        ({"unsupported": ("memory", "swap")}, "engine.cgroups", Level.FAIL),
        ({"has_seccomp": False}, "engine.seccomp", Level.FAIL),
        ({"root_directory": "/there/is/none"}, "engine.room", Level.SKIP),
        ({}, "engine.cgroups", Level.OK),
    ],
)
def test_what_an_engine_says_of_itself(
    fake: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    check: str,
    level: Level,
) -> None:
    facts: dict[str, Any] = {
        "version": "20.10",
        "runtimes": frozenset({"runc"}),
        "default_runtime": "runc",
        "cgroup_version": "2",
        "unsupported": (),
        "has_seccomp": True,
        "root_directory": "/",
    }
    monkeypatch.setattr(fake, "info", lambda: EngineInfo(**(facts | changes)))
    assert levels(engine.check())[check] == level


def test_a_runtime_that_the_engine_does_not_know(fake: FakeEngine, settings: Settings) -> None:
    settings.SANDBOX_RUNTIME = "runsc"
    assert levels(engine.check())["engine.runtime"] == Level.FAIL


def test_an_image_that_is_missing(fake: FakeEngine, settings: Settings) -> None:
    settings.SANDBOX_IMAGES = {"science": "custom-rce-science:latest"}
    fake.builds["custom-rce-science:latest"] = None
    assert levels(images.check()) == {"image.default": Level.OK, "image.science": Level.FAIL}


@pytest.mark.django_db
def test_a_database_that_is_right() -> None:
    assert set(levels(database.check()).values()) == {Level.OK}


@pytest.mark.django_db
def test_a_database_that_is_not_migrated() -> None:
    last = MigrationRecorder.Migration.objects.filter(app="audit").order_by("-name")
    last.filter(pk=last[:1].get().pk).delete()
    assert levels(database.check())["database.migrations"] == Level.FAIL


@pytest.mark.django_db
def test_a_database_with_too_few_connections(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setenv("WEB_WORKERS", "500")
    monkeypatch.setenv("WEB_THREADS", "500")
    found = levels(database.check())
    assert found["database.connections"] == Level.FAIL
    assert found["database.pool"] == Level.WARN


@pytest.mark.django_db
def test_clocks_that_agree() -> None:
    assert clocks.check_database().level == Level.OK


@pytest.mark.parametrize(
    ("seconds", "level"), [(0.5, Level.OK), (-5, Level.WARN), (31, Level.FAIL), (-900, Level.FAIL)]
)
def test_clocks_that_do_not(seconds: float, level: Level) -> None:
    assert clocks.judge("clock.other", "the other", seconds).level == level


@pytest.mark.django_db(transaction=True)
def test_a_keeper_that_is_not_there(fake: FakeEngine, settings: Settings) -> None:
    settings.SANDBOX_POOL_SIZE = 1
    found = levels(keeping.check(patience=0))
    assert found == {"keeper.alive": Level.FAIL, "pool.default": Level.WARN}


@pytest.mark.django_db(transaction=True)
def test_a_keeper_that_works(fake: FakeEngine, settings: Settings) -> None:
    settings.SANDBOX_POOL_SIZE = 1
    keeper.refill()
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute(f"SET application_name = '{keeper.APPLICATION}'")
        assert set(levels(keeping.check(patience=5)).values()) == {Level.OK}
    finally:
        other.close()


def test_settings_that_must_not_be(settings: Settings) -> None:
    settings.DEBUG, settings.SECRET_KEY = True, "short"
    found = levels(configuration.check())
    assert found["settings.security.W018"] == Level.FAIL
    assert found["settings.security.W009"] == Level.FAIL
    assert found["settings.https"] == Level.WARN


def test_settings_that_cannot_work(settings: Settings) -> None:
    settings.SANDBOX_MEMORY_MB = 0
    assert levels(configuration.check())["settings.sandbox.E001"] == Level.FAIL


@pytest.mark.django_db
@pytest.mark.usefixtures("no_engine")
def test_it_goes_on_without_an_engine_and_exits_with_1(
    store_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store_dir.mkdir()
    with pytest.raises(SystemExit) as exit:
        call_command("doctor", "--json")
    assert exit.value.code == 1
    found = {entry["check"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert found["engine.reachable"]["level"] == "fail"
    assert found["sandbox"]["level"] == "skip"
    assert found["database.reachable"]["level"] == "ok"
    assert os.environ["DATABASE_URL"] not in str(found)
