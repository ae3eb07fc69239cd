"""The running service: what holds across requests, processes and failures."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.service import Service, wait_until

WRITE = "open('a.txt', 'w').write('one')"
READ = "print(open('a.txt').read(), end='')"
SLEEP = "import time; open('b.txt', 'w').write('half'); time.sleep(60)"


def remove_container(service: Service, session_id: str) -> None:
    name = service.container_of(session_id)
    subprocess.run(["docker", "rm", "-f", name], check=True, capture_output=True)


def in_background(service: Service, code: str, **body: Any) -> tuple[threading.Thread, list[Any]]:
    """The answer comes into the list: a response, or the error that took its place."""
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(service.post("/exec", json={"lang": "py", "code": code, **body}))
        except requests.RequestException as error:
            answers.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, answers


def wait_for_run(service: Service, session_id: str) -> None:
    running = (
        "print(Execution.objects.running()"
        f".filter(session={session_id!r}).exclude(container=None).count())"
    )
    wait_until(lambda: service.sql(running).strip() == "1")
    # The row says that the container is at hand; the program starts a moment later.
    time.sleep(1)


def test_files_written_in_one_run_are_there_in_the_next(service: Service) -> None:
    first = service.run("open('/usr/src/app/a.txt', 'w').write('one')")
    again = service.run(READ, session_id=first["session_id"])
    assert again["stdout"] == "one"


def test_a_session_outlives_its_container(service: Service) -> None:
    session_id = service.run(WRITE)["session_id"]
    remove_container(service, session_id)
    assert service.run(READ, session_id=session_id)["stdout"] == "one"


def test_a_container_killed_during_a_run_is_told_and_loses_nothing(service: Service) -> None:
    session_id = service.run(WRITE)["session_id"]
    thread, answers = in_background(service, SLEEP, session_id=session_id)
    wait_for_run(service, session_id)
    remove_container(service, session_id)
    thread.join()
    assert answers[0].status_code == 503
    assert answers[0].json()["error"]
    again = service.run(READ, session_id=session_id)
    assert again["stdout"] == "one"


def test_two_servers_share_a_session(service: Service) -> None:
    other = service.start_another_api()
    session_id = service.run("open('n', 'w').write('0')")["session_id"]
    count = (
        "import time; n = int(open('n').read()); time.sleep(.1); open('n', 'w').write(str(n + 1))"
    )
    threads = [
        threading.Thread(
            target=service.run, args=[count], kwargs={"url": url, "session_id": session_id}
        )
        for url in (service.url, other) * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert service.run("print(open('n').read())", session_id=session_id)["stdout"] == "8\n"
    service.others.pop().stop()


def half_an_upload(service: Service) -> socket.socket:
    """The connection of a client that has sent half a file so far."""
    head = (
        "POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
        f"X-API-Key: {service.key}\r\nContent-Type: multipart/form-data; boundary=xxx\r\n\r\n"
        '--xxx\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
    )
    connection = socket.create_connection(("127.0.0.1", service.port))
    connection.sendall(head.encode() + bytes(500_000))
    return connection


def test_a_server_killed_during_a_run_leaves_nothing_behind(service: Service) -> None:
    session_id = service.run(WRITE)["session_id"]
    incoming = Path(service.environment["SANDBOX_STORE_DIR"]) / ".incoming"
    upload = half_an_upload(service)
    wait_until(lambda: any(path.stat().st_size for path in incoming.glob("*/*")))
    thread, answers = in_background(service, SLEEP, session_id=session_id)
    wait_for_run(service, session_id)
    container = service.container_of(session_id)
    assert service.api
    service.api.kill()
    thread.join()
    upload.close()
    assert isinstance(answers[0], requests.ConnectionError)
    service.start_api()
    # It waits until the dead server's lease has expired.
    assert service.run(READ, session_id=session_id)["stdout"] == "one"
    wait_until(lambda: container not in service.containers())
    left = "print(Execution.objects.running().count())"
    wait_until(lambda: service.sql(left).strip() == "0")
    wait_until(lambda: list(incoming.glob("*/*")) == [])


def test_a_server_told_to_stop_finishes_its_runs(service: Service) -> None:
    thread, answers = in_background(
        service, "import time; time.sleep(3); open('late.txt', 'w').write('done'); print('done')"
    )
    time.sleep(1.5)
    assert service.api
    service.api.stop()
    thread.join()
    assert answers[0].json()["stdout"] == "done\n"
    service.start_api()
    [file] = answers[0].json()["files"]
    assert service.get(f"/download/{file['session_id']}/{file['id']}").text == "done"


def test_a_client_that_hangs_up_ends_its_run(service: Service) -> None:
    session_id = service.run(WRITE)["session_id"]
    body = {"lang": "py", "code": SLEEP, "session_id": session_id}
    headers = {"X-API-Key": service.key}
    started = time.monotonic()
    with pytest.raises(requests.Timeout):
        requests.post(service.url + "/exec", json=body, headers=headers, timeout=2)
    again = service.run(READ + "; print(open('b.txt').read(), end='')", session_id=session_id)
    assert again["stdout"] == "onehalf"
    assert time.monotonic() - started < 25
    newest = f"print(Execution.objects.filter(session={session_id!r})[1].status)"
    assert service.sql(newest).strip() == "aborted"


def test_the_pool_is_refilled_by_the_keeper(service: Service) -> None:
    warm = "print(SandboxContainer.objects.warm().count())"
    wait_until(lambda: service.sql(warm).strip() == "1")
    answer = service.run("print(1)")
    source = f"print(Execution.objects.get(session={answer['session_id']!r}).container_source)"
    assert service.sql(source).strip() == "pool"
    wait_until(lambda: service.sql(warm).strip() == "1")


def test_a_dead_keeper_stops_nothing_and_a_new_one_takes_over(service: Service) -> None:
    assert service.keeper
    service.keeper.send(signal.SIGKILL)
    session_ids = [service.run(WRITE)["session_id"] for _ in range(3)]
    service.keeper.kill()
    service.start_keeper()
    assert service.run(READ, session_id=session_ids[0])["stdout"] == "one"
    warm = "print(SandboxContainer.objects.warm().count())"
    wait_until(lambda: service.sql(warm).strip() == "1")


def test_an_idle_sessions_container_makes_room_and_comes_back(service: Service) -> None:
    """More sessions than containers: the least recently used one is evicted and restored."""
    limit = 16
    session_ids = [service.run(WRITE)["session_id"] for _ in range(limit + 1)]
    assert len(service.containers()) <= limit
    assert service.run(READ, session_id=session_ids[0])["stdout"] == "one"


def test_expired_sessions_end_by_themselves(service: Service) -> None:
    answer = service.run(WRITE)
    session_id, file = answer["session_id"], answer["files"][0]
    container = service.container_of(session_id)
    service.sql(
        "from django.utils import timezone\n"
        f"SandboxSession.objects.filter(pk={session_id!r}).update(expires_at=timezone.now())"
    )
    assert service.get(f"/download/{session_id}/{file['id']}").status_code == 404
    wait_until(lambda: container not in service.containers())
    # What is in the store, which may be slow, goes beside the keeper's other work.
    store = Path(service.environment["SANDBOX_STORE_DIR"])
    wait_until(lambda: not (store / session_id[:2] / session_id).exists())
    assert service.run(READ, session_id=session_id)["code"] == 1
