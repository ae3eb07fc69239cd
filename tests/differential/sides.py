"""The two sides: a container as the service makes it, and one whose runner starts no zygote."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Self

import docker
from django.conf import settings
from docker.utils import kwargs_from_env

from audit.ids import new_id
from sandbox.confinement import confinement
from sandbox.engines.docker import INSTALLATION_LABEL, host_config
from sandbox.errors import SandboxError
from tests.containers import Sandbox, docker_engine
from tests.differential.corpus import Program

# What differs from run to run and what a program cannot keep from its output. Bash tells the number
# of a process that a signal has ended, `script.sh: line 3:   117 Killed  python3`, and
# Python some addresses, as of a destructor that failed.
PROCESS = re.compile(rb"(: line \d+:) +\d+(?= [A-Z])")
ADDRESS = re.compile(rb"\b0x[0-9a-fA-F]{8,16}\b")
MAX_SHOWN = 1000
# What a program leaves behind besides the contents of its files. Then none of it is there for the
# next one, but for matplotlib's list of fonts, which every container has from the start.
TIDY_UP = r"""
cd /
find /mnt/data /tmp /dev/shm -mindepth 1 -path /tmp/.cache/matplotlib -prune \
    -o -printf '%M %p %l\n' | sort
find /mnt/data /tmp /dev/shm -mindepth 1 -type d -exec chmod u+rwx {} + 2>/dev/null
find /mnt/data /tmp /dev/shm -mindepth 1 -maxdepth 1 ! -path /tmp/.cache -exec rm -rf {} +
find /tmp/.cache -mindepth 1 -maxdepth 1 ! -name matplotlib -exec rm -rf {} +
"""


@dataclass(frozen=True)
class Observed:
    """All that somebody can see of a run, but for the time that it took."""

    stdout: bytes
    stderr: bytes
    exit_code: int | None
    signal: str | None
    reason: str
    out_of_memory: bool
    files: dict[str, bytes]
    left: list[str]


class Side:
    """A container for one program after the other, and another one when that gets lost. Its
    runner gets `command` as arguments."""

    def __init__(self, *command: str) -> None:
        self._command = command
        self._engine = docker_engine()
        self._sandbox: Sandbox | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._discard()

    @property
    def sandbox(self) -> Sandbox:
        if self._sandbox is None:
            self._sandbox = Sandbox(self._engine, f"interpreter-test-{new_id()}")
            _create(self._sandbox.name, self._command)
            with self._sandbox.attach() as channel:
                channel.hello(timeout=60, hot_within=60)
            # So that the first program finds what each later one does.
            _tidy_up(self._sandbox)
        return self._sandbox

    def observe(self, program: Program) -> Observed:
        try:
            return _observe(self.sandbox, program)
        except SandboxError:
            # What it still does would be taken for the next program's.
            self._discard()
            raise

    def served_count(self) -> int:
        return served_count(self.sandbox)

    def _discard(self) -> None:
        if self._sandbox is not None:
            self._engine.remove(self._sandbox.name)
            self._sandbox = None


def served_count(sandbox: Sandbox) -> int:
    """How many interpreters the zygote has served so far."""
    with sandbox.attach() as channel:
        return channel.hello(timeout=60).served


def _observe(sandbox: Sandbox, program: Program) -> Observed:
    if program.files:
        sandbox.put(program.files)
    result = sandbox.run(program.code, *program.args, language=program.language, wall_seconds=20)
    files = sandbox.files()
    return Observed(
        stdout=_comparable(result.stdout),
        stderr=_comparable(result.stderr),
        exit_code=result.exit_code,
        signal=result.signal,
        reason=result.reason,
        out_of_memory=result.oom_kills > 0,
        files=files,
        left=_tidy_up(sandbox),
    )


def differences(expected: Observed, found: Observed) -> list[str]:
    """Where they begin, in words; pytest's own comparison takes minutes for long outputs."""
    told = [
        f"{name}: {getattr(expected, name)} became {getattr(found, name)}"
        for name in ("exit_code", "signal", "reason", "out_of_memory", "left")
        if getattr(expected, name) != getattr(found, name)
    ]
    for name, before, after in [
        ("stdout", expected.stdout, found.stdout),
        ("stderr", expected.stderr, found.stderr),
        *((n, data, found.files.get(n, b"")) for n, data in expected.files.items()),
    ]:
        if before != after:
            told.append(_first_difference(name, before, after))
    return told


def _first_difference(name: str, before: bytes, after: bytes) -> str:
    pairs = zip_longest(before.splitlines(), after.splitlines())
    number, (old, new) = next(
        ((number, pair) for number, pair in enumerate(pairs, 1) if pair[0] != pair[1]),
        (0, (before, after)),
    )
    return f"{name}, line {number}:\n    plain: {_shown(old)}\n    ours:  {_shown(new)}"


def _shown(line: bytes | None) -> str:
    return "nothing" if line is None else repr(line[:MAX_SHOWN].decode(errors="replace"))


def _create(name: str, command: Sequence[str]) -> None:
    """As `DockerEngine.create` does it, which knows of no command."""
    # Two CPUs, for the sake of whoever waits for the tests.
    confined = replace(confinement(), cpus=2)
    client = docker.APIClient(version="auto", **kwargs_from_env())
    try:
        client.create_container(
            confined.image,
            command=list(command),
            name=name,
            hostname=confined.hostname,
            labels={INSTALLATION_LABEL: settings.SANDBOX_INSTALLATION},
            stdin_open=True,
            detach=True,
            network_disabled=True,
            stop_signal="SIGKILL",
            host_config=client.create_host_config(**host_config(confined)),
        )
        client.start(name)
    finally:
        client.close()


def _tidy_up(sandbox: Sandbox) -> list[str]:
    return sandbox.run(TIDY_UP, language="bash").stdout.decode(errors="replace").splitlines()


def _comparable(output: bytes) -> bytes:
    return ADDRESS.sub(b"ADDRESS", PROCESS.sub(rb"\1 PID", output))
