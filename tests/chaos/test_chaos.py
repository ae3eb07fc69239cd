"""Everything that can be killed is, while several clients work: what they are told stays true.

The clients of `soak` know every right answer: which files a session holds, their bytes, and what a
program prints that lists them. A part that dies may cost an answer, which then is an error that
LibreChat can show. It never makes one wrong, and leaves nothing behind.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from bench.client import CallFailed, Interpreter
from soak.crowd import Crowd, visitors
from soak.ledger import Ledger, Outcome, counted
from soak.leftovers import Leftovers
from soak.visitor import Mix, Visitor
from tests.chaos.kills import Chaos
from tests.engines import PrivateEngine
from tests.outages import postgres, small_disk
from tests.service import Service, wait_until

logger = logging.getLogger(__name__)

CLIENTS = 6
STORE_MB = 32
HEAL_SECONDS = 60.0
# A container that a dead keeper was starting is given up after two minutes.
CLEAN_SECONDS = 150.0
MIX = Mix(
    actions={"begin": 3, "go_on": 10, "hint": 3, "upload": 3, "fetch": 3, "delete": 1},
    endings={"well": 12, "raise": 1, "exit": 1},
    languages={"py": 6, "bash": 3, "js": 1},
    longest_pause=1.0,
)
KILLS = (
    "keeper",
    "postgres_crashes",
    "postgres_stops",
    "dockerd",
    "worker",
    "container",
    "runner",
    "gunicorn",
    "zygote",
    "full_disk",
)


@pytest.fixture(scope="module")
def chaos(
    private_engine: PrivateEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Chaos]:
    directory = tmp_path_factory.mktemp("chaos")
    database, disk = directory / "postgres", directory / "disk"
    settings = {
        "DOCKER_HOST": private_engine.host,
        "SANDBOX_STORE_DIR": str(disk / "files"),
        "SANDBOX_POOL_SIZE": "2",
        "SANDBOX_MAX_CONTAINERS": "8",
        "SANDBOX_QUEUE_SECONDS": "15",
    }
    with small_disk(disk, STORE_MB):
        try:
            service = Service(
                directory=directory, database_url=postgres("start", database), settings=settings
            )
            with service:
                yield Chaos(service, private_engine, database, disk)
        finally:
            postgres("stop", database)


def leftovers(chaos: Chaos) -> Leftovers:
    return Leftovers(
        database_url=chaos.service.environment["DATABASE_URL"],
        store=Path(chaos.service.environment["SANDBOX_STORE_DIR"]),
        installation=chaos.service.environment["SANDBOX_INSTALLATION"],
        docker=["docker", f"--host={chaos.engine.host}"],
    )


def is_well(probe: Interpreter) -> bool:
    """A new session's run, and the next one in it."""
    with suppress(CallFailed):
        session_id = probe.execute("py", "open('a', 'w').write('b')")["session_id"]
        answer = probe.execute("bash", "cat a", session_id=session_id)
        return (answer["stdout"], answer["session_id"]) == ("b", session_id)
    return False


def have_worked(ledger: Ledger, since: float) -> bool:
    """All of them, twice or so."""
    return len(ledger.calls(Outcome.RIGHT, since=since)) > 2 * CLIENTS


def finds_all(client: Visitor) -> None:
    """In the end every session holds what it must, and every file that was promised is there. A
    dead worker's lease is waited for."""
    for belief in [*client.sessions, *([client.hinted] if client.hinted else [])]:
        wait_until(partial(client.finds_all_in, belief), seconds=HEAL_SECONDS)
    for _, kept in client.kept:
        client.fetch_one(kept)


def test_no_death_makes_an_answer_wrong_and_none_leaves_anything(chaos: Chaos) -> None:
    service, ledger = chaos.service, Ledger()
    keys = [service.key, service.manage("createapikey", "another").split()[-1]]
    probe = Interpreter(service.url, service.key, user="probe")
    with Crowd(visitors(CLIENTS, MIX, ledger, service.url, keys)) as crowd:
        for kill in KILLS:
            wait_until(partial(have_worked, ledger, time.monotonic()), seconds=HEAL_SECONDS)
            killed = time.monotonic()
            getattr(chaos, kill)()
            wait_until(partial(is_well, probe), seconds=HEAL_SECONDS)
            logger.info(
                "%s: well after %.1f s, %s %s",
                kill,
                time.monotonic() - killed,
                counted(ledger.calls(since=killed)),
                {call.detail for call in ledger.calls(Outcome.REFUSED, since=killed)},
            )
        crowd.pause()
        for client in crowd.visitors:
            finds_all(client)
    assert [str(call) for call in ledger.calls(Outcome.WRONG)] == []
    lost = ledger.calls(Outcome.LOST)
    assert [call for call in lost if not any(call.overlaps(*each) for each in chaos.deaths)] == []
    age(service)
    with leftovers(chaos) as left:
        assert left.settle(CLEAN_SECONDS) == []
        service.sql("from sandbox import store_keeper; store_keeper.sweep()")
        assert left.find() + left.find_in_store() == []


def age(service: Service) -> None:
    """What is seen to only after minutes or an hour is made as old as that: bytes whose row was not
    written, and runs of dead workers that had not found a container yet."""
    before = time.time() - 2 * 3600
    for path in Path(service.environment["SANDBOX_STORE_DIR"]).glob("[!.]*/*/*"):
        os.utime(path, (before, before))
    service.sql(
        "from datetime import timedelta\n"
        "from django.db.models import F\n"
        "from sandbox import store_keeper\n"
        "Execution.objects.running().filter(container=None)"
        ".update(created_at=F('created_at') - timedelta(hours=1))\n"
        "store_keeper.sweep()"
    )
