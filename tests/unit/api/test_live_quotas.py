"""Quotas where several processes race for what is left: three real servers on one database."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from audit.models import Execution, Reservation, SandboxFile, SandboxSession, Usage
from keys.models import APIKey
from tests.unit.api.gunicorn import Server, database_url, serving
from tests.unit.api.librechat import FORM, form_data

PROCESSES = 3
AT_ONCE = 12
MB = 1024 * 1024


@pytest.fixture(scope="module")
def processes(
    django_db_setup: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Server]]:
    # Enough room, and no container of another process, which this engine cannot reach from here.
    environment = {
        "DATABASE_URL": database_url(),
        "SANDBOX_MAX_CONTAINERS": "64",
        "SANDBOX_RECYCLE": "false",
    }
    with ExitStack() as stack:
        directories = (tmp_path_factory.mktemp("live") for _ in range(PROCESSES))
        yield [stack.enter_context(serving(one, **environment)) for one in directories]


@pytest.fixture
def servers(processes: list[Server], transactional_db: None) -> list[Server]:
    """Each has begun to work, so that none is late for the race."""
    _, secret = APIKey.issue(name="Before")
    send = running(secret)
    assert [send(server, 0) for server in processes] == [200] * PROCESSES
    return processes


Send = Callable[[Server, int], int]


def at_once(servers: list[Server], send: Send) -> Counter[int]:
    """How often there was which status."""
    together = threading.Barrier(AT_ONCE)

    def one(number: int) -> int:
        together.wait()
        return send(servers[number % len(servers)], number)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return Counter(threads.map(one, range(AT_ONCE)))


def running(secret: str, code: str = "print(1)") -> Send:
    def send(server: Server, number: int) -> int:
        body = {"lang": "py", "code": code, "user_id": f"u{number % 3}"}
        headers = {"X-API-Key": secret, "Content-Type": "application/json"}
        connection = server.http()
        connection.request("POST", "/exec", json.dumps(body), headers)
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status

    return send


def on_one_day(race: Callable[[], None]) -> None:
    """Once more if midnight came in between, when counting begins anew."""
    while True:
        day = timezone.now().date()
        race()
        if timezone.now().date() == day:
            return


def test_of_those_who_race_for_the_last_runs_as_many_win_as_there_are(
    servers: list[Server],
) -> None:
    seen: list[Counter[int]] = []
    secrets: list[str] = []

    def race() -> None:
        secrets.append(APIKey.issue(name="Alice", quotas={"runs_per_day": 5})[1])
        seen.append(at_once(servers, running(secrets[-1])))

    on_one_day(race)
    assert seen[-1] == {200: 5, 429: AT_ONCE - 5}
    key = APIKey.authenticate(secrets[-1])
    usage = Usage.objects.get(key=key, user_id="")
    assert (usage.runs, usage.refused) == (5, {"runs_per_day": AT_ONCE - 5})
    users = Usage.objects.filter(key=key).exclude(user_id="")
    assert sum(one.runs for one in users) == 5
    assert Execution.objects.filter(key=key).count() == 5


def test_each_user_wins_as_often_as_they_may(servers: list[Server]) -> None:
    seen: list[Counter[int]] = []

    def race() -> None:
        _, secret = APIKey.issue(name="Alice", quotas={"user_runs_per_day": 1})
        seen.append(at_once(servers, running(secret)))

    on_one_day(race)
    assert seen[-1] == {200: 3, 429: AT_ONCE - 3}


def test_no_more_runs_go_on_at_a_time_than_may(servers: list[Server], tmp_path: Path) -> None:
    """Each run waits for a file that comes when all others have been answered."""
    key, secret = APIKey.issue(name="Alice", quotas={"concurrent_runs": 2})
    gate = tmp_path / "gate"
    code = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.02)"
    refused = threading.Semaphore(0)
    send = running(secret, code)

    def noting(server: Server, number: int) -> int:
        status = send(server, number)
        if status == 429:
            refused.release()
        return status

    def open_gate() -> None:
        for _ in range(AT_ONCE - 2):
            refused.acquire(timeout=60)
        gate.touch()

    opener = threading.Thread(target=open_gate)
    opener.start()
    seen = at_once(servers, noting)
    opener.join()
    assert seen == {200: 2, 429: AT_ONCE - 2}
    assert Execution.objects.filter(key=key).count() == 2
    assert not Reservation.objects.exists()
    # And then the next two.
    assert send(servers[0], 0) == 200


@pytest.mark.parametrize(
    ("before", "size", "fitting"),
    [
        (0, MB // 3, 3),
        # So little each that they do not wait for each other, until there is little room.
        (MB - 5 * 30_000 - 29_999, 30_000, 5),
        (MB - 12 * 30_000, 30_000, 12),
    ],
)
def test_no_more_is_kept_than_may_be(
    servers: list[Server], before: int, size: int, fitting: int
) -> None:
    key, secret = APIKey.issue(name="Alice", quotas={"stored_mb": 1})
    later = timezone.now() + timedelta(hours=1)
    session = SandboxSession.objects.create(key=key, origin="upload", expires_at=later)
    SandboxFile.objects.create(session=session, name="before", size=before, sha256="0" * 64)
    stored = sum(len(server.stored()) for server in servers)
    body = form_data(("a.bin", bytes(size)), fields={})

    def upload(server: Server) -> int:
        connection = server.http()
        headers = {"X-API-Key": secret, "Content-Type": FORM}
        connection.request("POST", "/upload", body, headers)
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status

    write = running(secret, f"open('a.bin', 'wb').write(bytes({size}))")

    def send(server: Server, number: int) -> int:
        return write(server, number) if number % 4 < 2 else upload(server)

    seen = at_once(servers, send)
    # Runs are answered in any case.
    assert seen.keys() <= {200, 413}
    assert SandboxFile.objects.filter(session__key=key, name="a.bin").count() == fitting
    assert sum(len(server.stored()) for server in servers) == stored + fitting
    assert not Reservation.objects.exists()
