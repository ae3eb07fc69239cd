"""A crash of Postgres takes back what it had not written out: also that a container was claimed.

The container has been used all the same. Nobody may get it as what its row says that it is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.containers import docker_engine
from tests.outages import crash, hold_back_log, postgres
from tests.service import Service, wait_until

WARM = "print(SandboxContainer.objects.warm().count())"
LOOK = "import os; print(sorted(set(os.listdir()) - {'main.py'}))"
SECRET = "import time; open('secret.txt', 'w').write('secret'); time.sleep(8)"


@dataclass(frozen=True)
class Place:
    service: Service
    database: Path
    other_key: str

    def crash_during_a_run(self, *, with_api: bool, **body: str) -> None:
        """After it the run's claim is lost. With the API's death nobody is left who knows of the
        run, but its container."""
        before = self.claims()
        hold_back_log(self.database)
        thread = threading.Thread(target=self.ask_in_vain, kwargs=body)
        thread.start()
        wait_until(lambda: self.claims() != before)
        if with_api:
            assert self.service.api
            self.service.api.kill()
        crash(self.database)
        # Without the API's, the run ends while the database is away.
        thread.join()
        postgres("start", self.database)
        if with_api:
            self.service.start_api()
        assert self.claims() == before, "the claim was written out, so nothing is tested here"

    def ask_in_vain(self, **body: str) -> None:
        ask = {"lang": "py", "code": SECRET, **body}
        with suppress(requests.ConnectionError):
            assert self.service.post("/exec", json=ask).status_code == 503

    def claims(self) -> str:
        return self.service.sql(
            "print(sorted(SandboxContainer.objects.values_list('pk', 'state', 'session_id')))"
        )

    def look(self, key: str, **body: str) -> str:
        def ask() -> requests.Response:
            return requests.post(
                f"{self.service.url}/exec",
                headers={"X-API-Key": key},
                json={"lang": "py", "code": LOOK, **body},
                timeout=120,
            )

        answer = ask()
        if answer.status_code == 503:
            # Its container was found to be used, and is gone.
            answer = ask()
        assert answer.status_code == 200, answer.text
        found: str = answer.json()["stdout"]
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    docker_engine()
    database = tmp_path / "postgres"
    try:
        url = postgres("start", database)
        with Service(directory=tmp_path, database_url=url) as service:
            wait_until(lambda: service.sql(WARM).strip() == "1")
            assert service.keeper
            # Its own writes would take along what was there before them.
            service.keeper.kill()
            yield Place(service, database, service.manage("createapikey", "other").split()[-1])
    finally:
        postgres("stop", database)


@pytest.mark.parametrize("with_api", [True, False])
def test_a_warm_container_that_was_used_is_not_warm(place: Place, with_api: bool) -> None:
    place.crash_during_a_run(with_api=with_api)
    assert place.look(place.other_key) == "[]\n"


def test_a_container_that_was_emptied_for_another_session_is_not_its_former_ones(
    place: Place,
) -> None:
    session_id = place.service.run("open('a.txt', 'w').write('one')")["session_id"]
    place.crash_during_a_run(with_api=True)
    for _ in range(2):
        assert place.look(place.service.key, session_id=session_id) == "['a.txt']\n"


def test_what_a_lost_run_wrote_is_not_in_its_sessions_next_one(place: Place) -> None:
    session_id = place.service.run("open('a.txt', 'w').write('one')")["session_id"]
    place.crash_during_a_run(with_api=True, session_id=session_id)
    assert place.look(place.service.key, session_id=session_id) == "['a.txt']\n"
