from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import connection
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier
from pytest_django import Settings

from keys.models import APIKey
from sandbox.engines import _engine, engine
from sandbox.services import Caller
from tests.containers import docker_engine
from tests.engines import PrivateEngine
from tests.fakes.engine import FakeEngine
from tests.service import Service


@pytest.fixture(autouse=True)
def store_dir(settings: Settings, tmp_path: Path) -> Path:
    settings.SANDBOX_STORE_DIR = tmp_path / "store"
    return tmp_path / "store"


@pytest.fixture
def fake(settings: Settings) -> Iterator[FakeEngine]:
    """An engine without Docker, which keeps to the same contract."""
    settings.SANDBOX_ENGINE = "tests.fakes.engine.FakeEngine"
    _engine.cache_clear()
    made = engine()
    assert isinstance(made, FakeEngine)
    yield made
    for info in made.list():
        made.remove(info.name)
    _engine.cache_clear()


@pytest.fixture
def alice(db: None) -> Caller:
    """She owns what the test makes."""
    return Caller(key=APIKey.issue(name="Alice")[0])


@pytest.fixture
def bob(db: None) -> Caller:
    """He has a key of his own and must not see anything of Alice's."""
    return Caller(key=APIKey.issue(name="Bob")[0])


@contextmanager
def empty_database(name: str) -> Iterator[str]:
    """A database of its own on the tests' server; yields its DATABASE_URL."""
    settings = connection.settings_dict
    server = make_conninfo(
        host=settings["HOST"] or None,
        port=settings["PORT"] or None,
        user=settings["USER"] or None,
        password=settings["PASSWORD"] or None,
        dbname="postgres",
    )
    with psycopg.connect(server, autocommit=True) as admin:
        drop = SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name))
        admin.execute(drop)
        admin.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        try:
            url = urlsplit(os.environ["DATABASE_URL"])
            yield url._replace(path=f"{url.path.rpartition('/')[0]}/{name}").geturl()
        finally:
            admin.execute(drop)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """gunicorn and keeper on a real engine and a real database."""
    docker_engine()
    directory = tmp_path_factory.mktemp("service")
    with (
        empty_database(f"interpreter_service_{os.getpid()}") as url,
        Service(directory=directory, database_url=url) as service,
    ):
        yield service


@pytest.fixture(scope="session")
def private_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateEngine]:
    """One that may be killed, with the image in it. Whoever kills it starts it again."""
    docker_engine()
    engine = PrivateEngine(tmp_path_factory.mktemp("engine"))
    try:
        engine.start()
        engine.load(django_settings.SANDBOX_IMAGE)
        yield engine
    finally:
        engine.stop()


@pytest.fixture(scope="session")
def live_server_url(service: Service) -> str:
    return service.url


@pytest.fixture(scope="session")
def api_key(service: Service) -> str:
    return service.key
