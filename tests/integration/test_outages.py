"""What the service needs goes away and comes back: the engine, the database, room on the disk.

All three are the test's own, so that nobody else misses them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import requests

from tests.engines import PrivateEngine
from tests.outages import STORE_MB, Place, crash, place_of_its_own, postgres
from tests.service import wait_until

WRITE = "open('a.txt', 'w').write('one')"
READ = "print(open('a.txt').read(), end='')"
WARM = "print(SandboxContainer.objects.warm().count())"


@pytest.fixture(scope="module")
def place(
    private_engine: PrivateEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    with place_of_its_own(private_engine, tmp_path_factory.mktemp("outages")) as place:
        yield place


def answers_again(ask: Callable[[], requests.Response]) -> requests.Response:
    wait_until(lambda: ask().status_code == 200, seconds=60)
    return ask()


def test_the_service_outlives_its_engine(place: Place) -> None:
    service, engine = place.service, place.engine
    session_id = service.run(WRITE)["session_id"]
    answers: list[requests.Response] = []
    body = {"lang": "py", "code": "import time; time.sleep(60)", "session_id": session_id}
    thread = threading.Thread(target=lambda: answers.append(service.post("/exec", json=body)))
    thread.start()
    time.sleep(2)

    engine.kill()

    thread.join()
    assert answers[0].status_code == 503
    down = service.post("/exec", json={"lang": "py", "code": "print(1)"})
    assert (down.status_code, down.json()) == (503, {"error": "Sandbox engine unavailable"})
    # What needs no engine goes on.
    assert service.get(f"/files/{session_id}").status_code == 200

    engine.start()

    ask = {"lang": "py", "code": READ, "session_id": session_id}
    assert answers_again(lambda: service.post("/exec", json=ask)).json()["stdout"] == "one"
    # What the dead engine left is gone, and the pool is warm again.
    wait_until(lambda: set(service.containers().values()) == {"running"}, seconds=60)
    live = "print(SandboxContainer.objects.filter(removed_at=None).count())"
    assert int(service.sql(live)) == len(service.containers())
    wait_until(lambda: service.sql(WARM).strip() == "1", seconds=60)


def test_the_service_outlives_its_database(place: Place) -> None:
    service = place.service
    session_id = service.run(WRITE)["session_id"]

    postgres("stop", place.database)

    down = service.post("/exec", json={"lang": "py", "code": "print(1)"})
    assert (down.status_code, down.json()) == (503, {"error": "Database unavailable"})
    assert service.get(f"/files/{session_id}").status_code == 503
    assert service.get("/health").status_code == 200

    postgres("start", place.database)

    ask = {"lang": "py", "code": READ, "session_id": session_id}
    assert answers_again(lambda: service.post("/exec", json=ask)).json()["stdout"] == "one"
    wait_until(lambda: service.sql(WARM).strip() == "1", seconds=60)


@pytest.mark.parametrize("code", ["print('told')", "open('a.txt', 'w').close(); print('told')"])
def test_what_a_client_was_told_outlives_a_crash_of_the_database(place: Place, code: str) -> None:
    service = place.service
    session_id = service.run("print(1)")["session_id"]
    answer = service.run(code, session_id=session_id)

    crash(place.database)

    assert answer["stdout"] == "told\n"
    postgres("start", place.database)
    last = f"Execution.objects.filter(session={session_id!r}).latest('created_at')"
    told = service.sql(f"run = {last}; print(run.status, run.stdout.strip(), run.files.count())")
    assert told.split() == ["succeeded", "told", str(len(answer["files"]))]
    again = {"lang": "py", "code": "print(2)", "session_id": session_id}
    assert answers_again(lambda: service.post("/exec", json=again)).json()["stdout"] == "2\n"


def test_a_run_goes_on_while_the_database_is_away_for_a_moment(place: Place) -> None:
    service = place.service
    session_id = service.run(WRITE)["session_id"]
    answers: list[requests.Response] = []
    body = {
        "lang": "py",
        "code": "import time; time.sleep(15); print('done')",
        "session_id": session_id,
    }
    thread = threading.Thread(target=lambda: answers.append(service.post("/exec", json=body)))
    thread.start()
    time.sleep(2)
    postgres("stop", place.database)
    time.sleep(8)
    postgres("start", place.database)
    thread.join()
    assert answers[0].json()["stdout"] == "done\n"


def test_a_full_disk_is_told_and_loses_nothing(place: Place) -> None:
    service = place.service
    session_id = service.run(WRITE)["session_id"]
    big = STORE_MB * 1024 * 1024

    upload = service.post("/upload", files={"file": ("big.bin", b"x" * big)})
    assert (upload.status_code, upload.json()) == (503, {"error": "File store unavailable"})
    written = service.post(
        "/exec",
        json={
            "lang": "py",
            "code": f"open('a.txt', 'w').write('two'); open('big.bin', 'wb').write(b'x' * {big})",
            "session_id": session_id,
        },
    )
    assert (written.status_code, written.json()) == (503, {"error": "File store unavailable"})

    # Not half of it: the session is as it was.
    assert service.run(READ, session_id=session_id)["stdout"] == "one"
    used = sum(path.stat().st_size for path in place.disk.rglob("*") if path.is_file())
    assert used < 1000
    assert service.run(WRITE.replace("one", "three"), session_id=session_id)["files"]
