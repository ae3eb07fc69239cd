"""A container's zygote as root sees it, whom no program can be."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

import docker

from sandbox.confinement import Confinement, confinement
from sandbox.runner.privileges import SANDBOX_UID, ZYGOTE_UID
from tests.containers import Sandbox, docker_engine, started

# Of two CPUs, for the sake of whoever waits for the tests.
CPUS = 2.0
HOT_SECONDS = 30.0

# All processes but its own.
LIST = r"""
import json, os
found = []
for pid in filter(str.isdecimal, os.listdir("/proc")):
    try:
        lines = open(f"/proc/{pid}/status").read().splitlines()
        status = dict(line.split(":", 1) for line in lines if ":" in line)
        cmdline = open(f"/proc/{pid}/cmdline", "rb").read().replace(b"\0", b" ").decode().strip()
        try:
            fds = len(os.listdir(f"/proc/{pid}/fd"))
        except PermissionError:
            # A program's: root has no capability for that here.
            fds = 0
    except (FileNotFoundError, ProcessLookupError):
        continue
    if int(pid) != os.getpid():
        found.append({
            "pid": int(pid), "parent": int(status["PPid"]), "uid": int(status["Uid"].split()[0]),
            "name": status["Name"].strip(), "cmdline": cmdline, "state": status["State"].split()[0],
            "threads": int(status.get("Threads", "0")), "fds": fds,
            "rss_kb": int(status.get("RssAnon", "0 kB").split()[0]),
        })
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Seen:
    """A process in the container, by its number there."""

    pid: int
    parent: int
    uid: int
    name: str
    cmdline: str
    state: str
    threads: int
    fds: int
    rss_kb: int


@dataclass(frozen=True)
class Own:
    """The runner's processes beside PID 1, while nothing runs."""

    zygote: Seen
    spare: Seen
    holder: Seen


@dataclass(frozen=True)
class Inside:
    """Root in a container, with its capabilities: enough to list and to kill."""

    sandbox: Sandbox

    def execute(self, *command: str, user: str = "0") -> str:
        with closing(docker.APIClient(version="auto")) as client:
            made = client.exec_create(self.sandbox.name, list(command), user=user, workdir="/")
            output: bytes = client.exec_start(made["Id"])
            code = client.exec_inspect(made["Id"])["ExitCode"]
        assert code == 0, output
        return output.decode()

    def python(self, code: str, *, user: str = "0") -> str:
        return self.execute("/opt/sandbox/python3", "-I", "-S", "-c", code, user=user)

    def processes(self) -> list[Seen]:
        return [Seen(**each) for each in json.loads(self.python(LIST))]

    def own(self) -> Own:
        """Once the zygote has its spare again, and nothing else is there."""
        found: list[Own] = []

        def is_at_rest() -> bool:
            processes = self.processes()
            zygotes = [p for p in processes if (p.uid, p.parent) == (ZYGOTE_UID, 1)]
            children = [
                p for p in processes if p.uid == ZYGOTE_UID and p.parent in {z.pid for z in zygotes}
            ]
            spares = [p for p in children if p.state != "Z"]
            holders = [p for p in children if p.state == "Z"]
            strangers = [p for p in processes if p.uid == SANDBOX_UID]
            if len(zygotes) == len(spares) == len(holders) == 1 and not strangers:
                found.append(Own(zygotes[0], spares[0], holders[0]))
            return bool(found)

        wait_until(is_at_rest)
        return found[-1]

    def zygote(self) -> int:
        """Also while programs run."""
        (zygote,) = [p for p in self.processes() if (p.uid, p.parent) == (ZYGOTE_UID, 1)]
        return zygote.pid

    def programs(self) -> list[Seen]:
        return [p for p in self.processes() if p.uid == SANDBOX_UID]

    def kill(self, pid: int, signal: str = "KILL") -> None:
        self.execute("/bin/kill", f"-{signal}", str(pid))


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def hello(sandbox: Sandbox, hot_within: float = 0.0) -> tuple[bool, int]:
    with sandbox.attach() as channel:
        answer = channel.hello(timeout=60, hot_within=hot_within)
    return answer.hot, answer.served


def served(sandbox: Sandbox) -> int:
    return hello(sandbox)[1]


def get_hot(sandbox: Sandbox) -> None:
    """A zygote that has died is started again after a pause."""
    deadline = time.monotonic() + HOT_SECONDS
    while not hello(sandbox, hot_within=HOT_SECONDS)[0]:
        assert time.monotonic() < deadline, "there is no zygote"
        time.sleep(0.1)


def is_well(sandbox: Sandbox) -> bool:
    """The zygote serves both ways, and no program is left."""
    get_hot(sandbox)
    before = served(sandbox)
    code = "import sys, os, json, numpy; print(json.dumps(sys.argv), numpy.arange(3).sum())"
    assert sandbox.output(code) == '["main.py"] 3\n'
    bash = 'printf "%s " $(for i in 1 2 3; do echo "print($i)" | python3 -; done); echo done'
    assert sandbox.bash(bash) == "1 2 3 done\n"
    assert served(sandbox) == before + 4
    # Memory that is still being taken down is nobody's who could run.
    wait_until(lambda: Inside(sandbox).programs() == [])
    return True


@contextmanager
def hot_sandbox(confined: Confinement | None = None) -> Iterator[Sandbox]:
    confined = confined or replace(confinement(), cpus=CPUS)
    with started(docker_engine(), confined) as sandbox:
        get_hot(sandbox)
        yield sandbox


@contextmanager
def unharmed(sandbox: Sandbox) -> Iterator[None]:
    """Whatever is done with it, its zygote lives on and serves."""
    get_hot(sandbox)
    before = Inside(sandbox).own().zygote.pid
    yield
    assert is_well(sandbox)
    assert Inside(sandbox).own().zygote.pid == before
