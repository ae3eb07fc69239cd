"""Watched and stopped from another server than the one that runs it, in real containers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.service import Service, wait_until

PASSWORD = "correct horse"
STOPPED = "\n[sandbox] Stopped by an operator\n"
STUBBORN = """
import signal, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, signal.SIG_IGN)
print('so far', flush=True)
open('kept.txt', 'w').write('kept')
while True:
    time.sleep(1)
"""


class Operator:
    """Somebody in the admin of one server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = requests.Session()
        login = f"{url}/admin/login/"
        self.http.get(login, timeout=60)
        answer = self.http.post(
            login,
            data={"username": "operator", "password": PASSWORD, "csrfmiddlewaretoken": self.token},
            allow_redirects=False,
            timeout=60,
        )
        assert answer.status_code == 302, answer.text

    @property
    def token(self) -> str:
        return self.http.cookies["csrftoken"]

    def runs(self) -> list[dict[str, Any]]:
        answer = self.http.get(f"{self.url}/admin/live/runs/", timeout=60)
        assert answer.status_code == 200, answer.text
        listed: list[dict[str, Any]] = answer.json()["runs"]
        return listed

    def find(self, user: str, output: str = "", where: str = "running") -> dict[str, Any]:
        """The user's run, once it is where it should be and has written that much."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [
                run
                for run in self.runs()
                if run["user"] == user and run["where"] == where and output in run["stdout"]
            ]
            return bool(found)

        wait_until(look, seconds=100)
        return found[0]

    def stop(self, run: dict[str, Any]) -> bool:
        answer = self.http.post(
            self.url + run["stop"], headers={"X-CSRFToken": self.token}, timeout=60
        )
        assert answer.status_code == 200, answer.text
        return bool(answer.json()["stopping"])


@pytest.fixture(scope="module")
def operator(service: Service) -> Operator:
    """At another server than the one that runs the programs."""
    service.sql(
        "from django.contrib.auth.models import User;"
        f"User.objects.create_superuser('operator', '', {PASSWORD!r})"
    )
    return Operator(service.start_another_api())


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def begin(
    pool: ThreadPoolExecutor, service: Service, user: str, code: str, lang: str, **body: Any
) -> Future[dict[str, Any]]:
    return pool.submit(service.run, code, lang=lang, user_id=user, timeout=120_000, **body)


@pytest.mark.parametrize(
    ("lang", "code"),
    [
        ("py", STUBBORN),
        ("bash", "trap '' TERM INT HUP; echo so far; printf kept > kept.txt\nwhile :; do :; done"),
        (
            "js",
            "require('fs').writeFileSync('kept.txt', 'kept'); console.log('so far');"
            "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)",
        ),
        ("bash", "echo so far; printf kept > kept.txt; python3 -c 'while True: pass'"),
    ],
)
def test_a_program_is_stopped_and_its_user_told(
    service: Service, operator: Operator, background: ThreadPoolExecutor, lang: str, code: str
) -> None:
    answer = begin(background, service, f"stopped-{lang}", code, lang)
    run = operator.find(f"stopped-{lang}", "so far")
    assert run["code"].splitlines()[0] == code.strip().splitlines()[0]
    assert operator.stop(run)
    got = answer.result()
    assert (got["code"], got["signal"], got["status"]) == (137, "SIGKILL", None)
    assert (got["stdout"], got["stderr"]) == ("so far\n", STOPPED)
    assert got["message"] == "Stopped by an operator"
    [file] = got["files"]
    path = f"/download/{got['session_id']}/{file['id']}"
    assert (file["name"], service.get(path).content) == ("kept.txt", b"kept")
    # It has ended: there is nothing to stop, and the session goes on.
    assert not operator.stop(run)
    again = service.run("cat kept.txt; ps ax | wc -l", lang="bash", session_id=got["session_id"])
    assert again["stdout"].startswith("kept")
    assert [other for other in operator.runs() if other["id"] == run["id"]] == []


def test_a_flood_is_watched_and_stopped(
    service: Service, operator: Operator, background: ThreadPoolExecutor
) -> None:
    code = "import sys\nwhile True: sys.stdout.write('flood\\n' * 1000)"
    answer = begin(background, service, "flood", code, "py")
    run = operator.find("flood", "flood\n")
    assert len(run["stdout"]) < 5000
    assert operator.stop(run)
    operator.stop(run)
    got = answer.result()
    assert got["stderr"].endswith(STOPPED)
    assert (got["code"], got["status"]) == (137, "OL")
    assert got["stdout"].startswith("flood\nflood\n")


def test_a_run_in_line_is_stopped_and_the_one_before_it_goes_on(
    service: Service, operator: Operator, background: ThreadPoolExecutor
) -> None:
    hint = {"runtime_session_hint": "live-line"}
    code = "import os, time\nwhile not os.path.exists('/tmp/end'): time.sleep(0.1)\nprint('end')"
    service.run("print(1)", user_id="first", **hint)
    first = begin(background, service, "first", code, "py", **hint)
    running = operator.find("first")
    second = begin(background, service, "first", "print('second')", "py", **hint)
    waiting = operator.find("first", where="in line for its session")
    assert waiting["id"] != running["id"]
    assert operator.stop(waiting)
    got = second.result()
    assert (got["code"], got["stdout"], got["stderr"]) == (137, "", STOPPED)
    assert not first.done()
    assert [run["id"] for run in operator.runs() if run["user"] == "first"] == [running["id"]]
    assert operator.stop(running)
    assert first.result()["stderr"] == STOPPED


def test_a_session_expires_while_its_run_goes_on(
    service: Service, operator: Operator, background: ThreadPoolExecutor
) -> None:
    answer = begin(background, service, "expired", STUBBORN, "py")
    run = operator.find("expired", "so far")
    page = operator.http.get(operator.url + run["session"], timeout=60).text
    [address] = set(re.findall(r'href="([^"]*expire_now[^"]*)"', page))
    form = {"confirmed": "yes", "csrfmiddlewaretoken": operator.token}
    done = operator.http.post(operator.url + address, data=form, timeout=60)
    assert "will when their runs have stopped" in done.text
    got = answer.result()
    assert got["stderr"] == STOPPED
    # The keeper does the rest.
    path = f"/files/{got['session_id']}"
    wait_until(lambda: service.get(path).status_code == 404, seconds=60)
    ended = f"print(SandboxSession.objects.get(pk={got['session_id']!r}).ended_at is not None)"
    wait_until(lambda: service.sql(ended).strip() == "True", seconds=60)


def test_what_a_run_does_is_seen_about_a_second_later(
    service: Service, operator: Operator, background: ThreadPoolExecutor
) -> None:
    """And not only at its end: the program waits until it was seen."""
    code = "import time\nfor n in range(600):\n    print('tick', n, flush=True); time.sleep(.2)"
    answer = begin(background, service, "ticks", code, "py")
    first = operator.find("ticks", "tick 0\n")
    later: list[str] = []

    def has_more() -> bool:
        later.append(operator.find("ticks")["stdout"])
        return bool(later[-1] != first["stdout"])

    wait_until(has_more, seconds=60)
    assert later[-1].startswith(first["stdout"])
    assert operator.stop(first)
    assert answer.result()["stdout"].startswith(later[-1])
    left = "print(LiveRun.objects.count())"
    wait_until(lambda: service.sql(left).strip() == "0", seconds=60)
