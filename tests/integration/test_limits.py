"""Each limit, hit for real: at the server's value, and lowered by a key."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
import requests
from django.db import connection

from keys.limits import BY_NAME, LIMITS
from tests.conftest import empty_database
from tests.containers import docker_engine
from tests.service import Service, wait_until

DATABASE = f"interpreter_limits_{os.getpid()}"
# Small, so that they are reached quickly.
SERVER: dict[str, float] = {
    "cpus": 1,
    "memory_mb": 300,
    "pids": 60,
    "workspace_mb": 32,
    "tmp_mb": 16,
    "shm_mb": 8,
    "inodes": 900,
    # On a busy machine a second of the processor takes many of these.
    "max_run_seconds": 90,
    "cpu_seconds": 2,
    "open_files": 200,
    "write_mb": 20,
    "output_bytes": 40_000,
    "file_mb": 6,
    "files_mb": 15,
    "max_session_files": 80,
    "max_output_files": 40,
}
GUEST: dict[str, float] = {
    "cpus": 0.5,
    "memory_mb": 200,
    "pids": 30,
    "workspace_mb": 10,
    "tmp_mb": 5,
    "shm_mb": 2,
    "inodes": 300,
    "max_run_seconds": 60,
    "cpu_seconds": 1,
    "open_files": 50,
    "write_mb": 5,
    "output_bytes": 2000,
    "file_mb": 1,
    "files_mb": 3,
    "max_session_files": 12,
    "max_output_files": 5,
}
FILL = "for i in range(100): open('PLACE/' + str(i), 'wb').write(b'x' * 2**20)"
MANY = "for i in range(2000): open('PLACE/' + str(i), 'wb').close()"


@dataclass(frozen=True)
class Party:
    """Somebody with a key."""

    service: Service
    key: str
    limits: dict[str, float]

    def run(self, code: str, *, lang: str = "py", **body: Any) -> dict[str, Any]:
        """The answer; that the run's row says the same of its limits is looked at as well."""
        response = requests.post(
            f"{self.service.url}/exec",
            json={"lang": lang, "code": code, **body},
            headers={"X-API-Key": self.key},
            timeout=120,
        )
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        noted, self_made = self.row(answer["session_id"])
        assert noted == answer.get("limits_hit", [])
        assert self_made["limits"].split()[1] == f"memory_mb={int(self.limits['memory_mb'])}"
        return answer

    def row(self, session_id: str) -> tuple[list[str], dict[str, str]]:
        """Of the session's newest run: the limits that it hit, and its container."""
        server = connection.settings_dict
        with psycopg.connect(
            host=server["HOST"] or None,
            port=server["PORT"] or None,
            user=server["USER"] or None,
            password=server["PASSWORD"] or None,
            dbname=DATABASE,
        ) as rows:
            found = rows.execute(
                "SELECT execution.limits_hit, container.limits, execution.container_source"
                " FROM audit_execution execution JOIN audit_sandboxcontainer container"
                " ON container.id = container_id WHERE execution.session_id = %s"
                " ORDER BY execution.created_at DESC LIMIT 1",
                [session_id],
            ).fetchone()
        assert found
        return found[0], {"limits": found[1], "source": found[2]}


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    docker_engine()
    settings = {BY_NAME[name].setting: f"{value:g}" for name, value in SERVER.items()}
    settings |= {"SANDBOX_RUN_SECONDS": "90"}
    with (
        empty_database(DATABASE) as url,
        Service(
            directory=tmp_path_factory.mktemp("limits"), database_url=url, settings=settings
        ) as service,
    ):
        yield service


@pytest.fixture(scope="module")
def host(limited: Service) -> Party:
    return Party(limited, limited.key, SERVER)


@pytest.fixture(scope="module")
def guest(limited: Service) -> Party:
    own = [f"--limit={name}={value:g}" for name, value in GUEST.items()]
    return Party(limited, limited.manage("createapikey", "guest", *own).split()[-1], GUEST)


@pytest.fixture(params=["host", "guest"])
def party(request: pytest.FixtureRequest) -> Party:
    found: Party = request.getfixturevalue(request.param)
    return found


def test_both_have_a_value_for_every_limit() -> None:
    assert list(SERVER) == list(GUEST) == [limit.name for limit in LIMITS]
    assert all(GUEST[name] < SERVER[name] for name in SERVER)


def test_what_the_kernel_was_told(party: Party) -> None:
    code = """
import json, os, resource
def read(*names):
    for name in names:
        if os.path.exists("/sys/fs/cgroup/" + name): return open("/sys/fs/cgroup/" + name).read()
if os.path.exists("/sys/fs/cgroup/cpu.max"):
    quota, period = read("cpu.max").split()
    swap = int(read("memory.swap.max"))
else:
    quota, period = read("cpu/cpu.cfs_quota_us"), read("cpu/cpu.cfs_period_us")
    both = read("memory/memory.memsw.limit_in_bytes")
    swap = int(both) - int(read("memory/memory.limit_in_bytes")) if both else 0
mounts = {place: os.statvfs(place) for place in ("/mnt/data", "/tmp", "/dev/shm")}
print(json.dumps({
    "cpus": int(quota) / int(period),
    "memory_mb": int(read("memory.max", "memory/memory.limit_in_bytes")) / 2**20,
    "pids": int(read("pids.max", "pids/pids.max")),
    "workspace_mb": mounts["/mnt/data"].f_blocks * mounts["/mnt/data"].f_frsize / 2**20,
    "tmp_mb": mounts["/tmp"].f_blocks * mounts["/tmp"].f_frsize / 2**20,
    "shm_mb": mounts["/dev/shm"].f_blocks * mounts["/dev/shm"].f_frsize / 2**20,
    "inodes": mounts["/mnt/data"].f_files,
    "cpu_seconds": resource.getrlimit(resource.RLIMIT_CPU)[0],
    "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
    "write_mb": resource.getrlimit(resource.RLIMIT_FSIZE)[1] / 2**20,
    "swap": swap,
    "all inodes": len({mount.f_files for mount in mounts.values()}),
}))
"""
    told = json.loads(party.run(code)["stdout"])
    assert (told.pop("swap"), told.pop("all inodes")) == (0, 1)
    assert told == {name: party.limits[name] for name in told}
    # The interpreter that bash starts has them as well.
    by_bash = party.run(f"python3 - <<'EOF'\n{code}\nEOF", lang="bash")["stdout"]
    assert json.loads(by_bash)["open_files"] == party.limits["open_files"]


CASES = {
    "cpu_time": ("while True: pass", "CPU time limit exceeded", "TO"),
    "memory": ("x = b'x' * ({memory_mb} * 2**20)", "Out of memory", "SG"),
    "processes": (
        "import os, time\nfor _ in range(200):\n    if os.fork() == 0: time.sleep(60)",
        "Too many processes and threads",
        None,
    ),
    "output": ("print('x' * ({output_bytes} + 1))", "stdout length exceeded", "OL"),
    "file_size": (
        "exec truncate --size {write_mb}1M big",
        "File size limit exceeded",
        None,
    ),
    "workspace_bytes": (FILL.replace("PLACE", "/mnt/data"), "/mnt/data is full", None),
    "workspace_inodes": (MANY.replace("PLACE", "/mnt/data"), "Too many files in /mnt/data", None),
    "tmp_bytes": (FILL.replace("PLACE", "/tmp"), "/tmp is full", None),
    "tmp_inodes": (MANY.replace("PLACE", "/tmp"), "Too many files in /tmp", None),
    "shm_bytes": (FILL.replace("PLACE", "/dev/shm"), "/dev/shm is full", None),
    "shm_inodes": (MANY.replace("PLACE", "/dev/shm"), "Too many files in /dev/shm", None),
}


@pytest.mark.parametrize("limit", CASES)
def test_a_limit_is_hit_and_said_and_the_session_goes_on(party: Party, limit: str) -> None:
    code, sentence, status = CASES[limit]
    language = "bash" if limit == "file_size" else "py"
    answer = party.run(code.format(**party.limits), lang=language)
    # Of what fills a directory not all is kept.
    hit = [name for name in answer["limits_hit"] if not name.startswith("kept_")]
    assert hit == [limit]
    assert (answer["message"], answer["status"]) == (sentence, status)
    assert f"\n[sandbox] {sentence}\n" in answer["stderr"]
    again = party.run("print('next')", session_id=answer["session_id"])
    assert (again["stdout"], again["code"]) == ("next\n", 0)


def test_time_by_the_clock_ends_where_the_request_or_the_key_says(
    limited: Service, host: Party
) -> None:
    secret = limited.manage("createapikey", "hasty", "--limit=max_run_seconds=2").split()[-1]
    hasty = Party(limited, secret, SERVER | {"max_run_seconds": 2})
    code = "import time; time.sleep(60)"
    # The longest that a key may have is the most that a request can ask for.
    for answer in (host.run(code, timeout=2000), hasty.run(code), hasty.run(code, timeout=50_000)):
        assert (answer["limits_hit"], answer["status"]) == (["wall_time"], "TO")
        assert answer["message"] == "Time limit exceeded"
        assert 2000 <= answer["wall_time"] < 50_000


def test_one_that_copes_has_succeeded_and_is_told_nothing(party: Party) -> None:
    code = """
import os, time
try:
    for _ in range(200):
        if os.fork() == 0: time.sleep(60)
except BlockingIOError: print("no more")
try:
    with open("/dev/shm/a", "wb") as file: file.write(bytes(100 * 2**20))
except OSError: print("full")
"""
    answer = party.run(code)
    assert (answer["code"], answer["status"], answer["message"]) == (0, None, None)
    assert (answer["stdout"], answer["stderr"]) == ("no more\nfull\n", "")
    assert answer["limits_hit"] == ["processes", "shm_bytes"]


def test_a_shells_child_that_had_no_cpu_time_left(party: Party) -> None:
    """Run by the zygote, and by an exec of its own."""
    for child in ("python3 -c 'while True: pass'", "node -e 'while (true) {}'"):
        answer = party.run(child, lang="bash")
        assert (answer["limits_hit"], answer["status"]) == (["cpu_time"], "TO")


def test_what_ignores_the_end_of_its_cpu_time(party: Party) -> None:
    code = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
    answer = party.run(code)
    assert (answer["limits_hit"], answer["message"]) == (["cpu_time"], "CPU time limit exceeded")


def test_signals_that_a_program_sends_itself_are_no_end_of_its_cpu_time(party: Party) -> None:
    answer = party.run("kill -XCPU $$", lang="bash")
    assert "limits_hit" not in answer
    assert (answer["status"], answer["message"]) == (None, "Terminated by SIGXCPU")


def test_a_file_as_large_as_may_be_tells_what_python_does_not_die_of(limited: Service) -> None:
    secret = limited.manage("createapikey", "writer", "--limit=write_mb=1").split()[-1]
    writer = Party(limited, secret, SERVER | {"write_mb": 1})
    answer = writer.run("open('big', 'wb').write(bytes(2**21))")
    assert answer["limits_hit"] == ["file_size"]
    assert "OSError: [Errno 27] File too large" in answer["stderr"]
    assert answer["message"] == "File size limit exceeded"


def test_open_files_end_where_they_should_and_nobody_can_tell(party: Party) -> None:
    code = """
import errno, os
held = [0, 1, 2]
try:
    while True: held.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error: print(errno.errorcode[error.errno], len(held))
"""
    answer = party.run(code)
    assert answer["stdout"] == f"EMFILE {int(party.limits['open_files'])}\n"
    assert "limits_hit" not in answer


WRITE = "for i in range({count}): open('%03d' % i, 'wb').write(bytes({size}))"


@pytest.mark.parametrize("limit", ["kept_files", "kept_file_size", "kept_bytes"])
def test_files_over_a_limit_are_not_kept(party: Party, limit: str) -> None:
    limits = {name: int(value) for name, value in party.limits.items()}
    files, listed = limits["max_session_files"], limits["max_output_files"]
    half = limits["file_mb"] * 2**20 // 2
    count, size, kept = {
        "kept_files": (files + 3, 1, listed),
        "kept_file_size": (1, 2 * half + 1, 0),
        "kept_bytes": (limits["files_mb"] * 2**20 // half + 2, half, None),
    }[limit]
    answer = party.run(WRITE.format(count=count, size=size))
    assert limit in answer["limits_hit"]
    assert answer["code"] == 0
    assert "missing from the answer" in answer["stderr"]
    if kept is not None:
        assert len(answer["files"]) == kept
    skipped = answer["artifact_truncation"]["skipped_count"]
    assert skipped == count - len(answer["files"])


def test_a_key_with_limits_takes_nothing_from_the_pool(host: Party, guest: Party) -> None:
    warm = "print(SandboxContainer.objects.warm().count())"
    wait_until(lambda: host.service.sql(warm).strip() == "1")
    answer = guest.run("print(1)")
    assert guest.row(answer["session_id"])[1]["source"] in ("created", "recycled")
    assert host.service.sql(warm).strip() == "1"
    answer = host.run("print(1)")
    assert host.row(answer["session_id"])[1]["source"] == "pool"


def test_a_neighbour_of_those_that_hit_their_limits_notices_nothing(
    host: Party, guest: Party
) -> None:
    hogs = [
        threading.Thread(target=guest.run, args=[CASES[limit][0].format(**guest.limits)])
        for limit in ("memory", "processes", "workspace_bytes")
    ]
    for hog in hogs:
        hog.start()
    code = "import subprocess; open('a.txt', 'w').write('x' * 2**20); print(len(b'x' * 2**26))"
    answers = [host.run(code) for _ in range(3)]
    for hog in hogs:
        hog.join()
    for answer in answers:
        assert (answer["stdout"], answer["stderr"]) == (f"{2**26}\n", "")
        assert "limits_hit" not in answer


def test_containers_of_a_key_whose_limits_changed_are_ended(limited: Service) -> None:
    secret = limited.manage("createapikey", "changed", "--limit=memory_mb=250").split()[-1]
    party = Party(limited, secret, {"memory_mb": 250})
    session_id = party.run("open('a.txt', 'w').write('one')")["session_id"]
    container = limited.container_of(session_id)
    limited.sql(
        "from keys.models import APIKey\n"
        "APIKey.objects.filter(name='changed').update(memory_mb=260)"
    )
    wait_until(lambda: container not in limited.containers())
    after = Party(limited, secret, {"memory_mb": 260})
    again = after.run("print(open('a.txt').read())", session_id=session_id)
    assert again["stdout"] == "one\n"
