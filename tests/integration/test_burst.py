"""Fifty requests at once on a real engine with two hot containers and room for six."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.conftest import empty_database
from tests.containers import docker_engine
from tests.service import Service, wait_until

BURST = 50
# What an earlier session in the same container could have left, anywhere.
CODE = """
import os
places = [os.getcwd(), "/tmp", "/dev/shm"]
print([sorted(set(os.listdir(place)) - {"main.py", ".cache"}) for place in places])
for place in places:
    open(place + "/left", "w").write("secret")
"""
WARM = "print(SandboxContainer.objects.warm().count())"
TOLD = """
import json
runs = list(Execution.objects.select_related("session").exclude(container=None))
owners = {}
for run in runs:
    owners.setdefault(run.container_id, set()).add((run.session.key_id, run.session.user_id))
print(json.dumps({
    "owners of a container": max(len(found) for found in owners.values()),
    "sources": sorted({run.container_source for run in runs}),
    "statuses": sorted({run.status for run in runs}),
    "without steps": sum(run.step_ms.get("total", 0) <= 0 for run in runs),
    "leased sessions": SandboxSession.objects.exclude(lease_expires_at=None).count(),
    "leased containers": SandboxContainer.objects.filter(state="leased").count(),
    "occupying": SandboxContainer.objects.occupying().count(),
}))
"""


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    docker_engine()
    directory = tmp_path_factory.mktemp("burst")
    settings = {"SANDBOX_POOL_SIZE": "2", "SANDBOX_MAX_CONTAINERS": "6"}
    with (
        empty_database(f"interpreter_burst_{os.getpid()}") as url,
        Service(directory=directory, database_url=url, settings=settings) as service,
    ):
        yield service


def test_a_burst_is_served_each_in_its_own_clean_workspace(busy: Service) -> None:
    keys = [busy.key, busy.manage("createapikey", "another").split()[-1]]
    wait_until(lambda: busy.sql(WARM).strip() == "2")

    def ask(number: int) -> requests.Response:
        headers = {"X-API-Key": keys[number % 2], "User-Id": f"user-{number // 2 % 2}"}
        body = {"lang": "py", "code": CODE}
        return requests.post(f"{busy.url}/exec", headers=headers, json=body, timeout=120)

    with ThreadPoolExecutor(BURST) as clients:
        answers = list(clients.map(ask, range(BURST)))

    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["stdout"] for answer in answers} == {"[[], [], []]\n"}
    assert len({answer.json()["session_id"] for answer in answers}) == BURST
    assert all(file["name"] == "left" for answer in answers for file in answer.json()["files"])
    told = json.loads(busy.sql(TOLD))
    assert told.pop("occupying") <= 6
    sources = told.pop("sources")
    assert {"pool", "recycled"} <= set(sources)
    assert told == {
        "owners of a container": 1,
        "statuses": ["succeeded"],
        "without steps": 0,
        "leased sessions": 0,
        "leased containers": 0,
    }


def test_afterwards_the_pool_is_hot_again_and_containers_have_their_usual_share(
    busy: Service,
) -> None:
    """Nothing else is asked for, so what the burst has left idle makes room after a while."""
    busy.sql(
        "from datetime import timedelta\n"
        "from django.db.models import F\n"
        "SandboxContainer.objects.idle()"
        ".update(last_used_at=F('last_used_at') - timedelta(minutes=1))"
    )
    wait_until(lambda: busy.sql(WARM).strip() == "2", seconds=60)
    engine = docker_engine()
    for name in busy.containers():
        host = engine._client().inspect_container(name)["HostConfig"]
        assert (host["CpuPeriod"], host["CpuQuota"]) == (100_000, 50_000)
