"""API processes are killed at every place of a run, and nobody ever comes back to its session."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest
import requests

from tests.chaos.kills import children
from tests.conftest import empty_database
from tests.containers import docker_engine
from tests.service import Service, wait_until

QUEUE_SECONDS = 20
ENDLESS = "import time; time.sleep(200)"
STATUSES = "print(*sorted(Execution.objects.values_list('status', flat=True)))"
# A run says with its row how far it has come.
PLACES = (
    "print(Execution.objects.exclude(container=None).filter(status='running').count(),"
    " Execution.objects.exclude(queued_at=None).filter(status='running').count(),"
    " Execution.objects.filter(status='running', lease_token='').count())"
)


@pytest.fixture
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With room for two containers, and none in the pool."""
    docker_engine()
    settings = {
        "SANDBOX_MAX_CONTAINERS": "2",
        "SANDBOX_POOL_SIZE": "0",
        "SANDBOX_QUEUE_SECONDS": str(QUEUE_SECONDS),
    }
    directory = tmp_path_factory.mktemp("dead_workers")
    with (
        empty_database(f"interpreter_dead_workers_{os.getpid()}") as url,
        Service(directory=directory, database_url=url, settings=settings) as service,
    ):
        yield service


def begin(service: Service, **body: object) -> threading.Thread:
    """A run that will have no answer."""

    def run() -> None:
        with suppress(requests.ConnectionError):
            service.post("/exec", json={"lang": "py", "code": ENDLESS, "timeout": 250_000, **body})

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def answers(service: Service, code: str) -> bool:
    return service.post("/exec", json={"lang": "py", "code": code}).status_code == 200


def are(service: Service, places: str) -> bool:
    return service.sql(PLACES).strip() == places


def kill_workers(service: Service) -> None:
    assert service.api
    for pid in children(service.api.popen.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_dead_workers_runs_are_aborted_and_hold_nobody_up(service: Service) -> None:
    assert service.keeper
    keeper_log = service.keeper.log
    # The keeper has been there for long enough to tell.
    wait_until(lambda: "who is missing from now on has died" in keeper_log.read_text(), seconds=90)
    session_id = service.run("print(1)")["session_id"]
    # Two run; one waits in line for a container, one for its turn in a session.
    threads = [begin(service, session_id=session_id)]
    wait_until(partial(are, service, "1 0 0"))
    threads.append(begin(service))
    wait_until(partial(are, service, "2 0 0"), seconds=60)
    threads.append(begin(service, session_id=session_id))
    wait_until(partial(are, service, "2 0 1"))
    threads.append(begin(service))
    wait_until(partial(are, service, "2 1 1"))

    kill_workers(service)
    for thread in threads:
        thread.join()

    # gunicorn has others at once. Until the keeper has seen it, the line and all containers are the
    # dead's; their leases do not end by themselves before that.
    wait_until(lambda: answers(service, "print(2)"), seconds=120)
    assert "of a worker that has died" in keeper_log.read_text()
    # The one that never had its turn is given the time for it first.
    expected = "aborted aborted aborted running succeeded succeeded"
    wait_until(lambda: service.sql(STATUSES).strip() == expected, seconds=60)
    aged = "from datetime import timedelta\nfrom django.db.models import F\n"
    aged += "Execution.objects.running().update(created_at=F('created_at') - timedelta(minutes=5))"
    service.sql(aged)
    expected = "aborted aborted aborted aborted succeeded succeeded"
    wait_until(lambda: service.sql(STATUSES).strip() == expected, seconds=60)
    wait_until(lambda: len(service.containers()) <= 1, seconds=60)
    # The keeper links them, and what it has linked stays as it was.
    wait_until(lambda: service.sql("print(AuditEntry.objects.count())").strip() == "6")
    assert "6 executions" in service.manage("verifyaudit")


def test_a_keeper_that_was_away_sees_who_died_meanwhile(service: Service) -> None:
    assert service.keeper
    service.keeper.kill()
    thread = begin(service)
    wait_until(partial(are, service, "1 0 0"), seconds=60)
    kill_workers(service)
    thread.join()
    time.sleep(1)
    assert service.sql(STATUSES).strip() == "running"
    service.start_keeper()
    wait_until(lambda: service.sql(STATUSES).strip() == "aborted", seconds=60)
    wait_until(lambda: service.containers() == {}, seconds=60)
