"""A process forked from the zygote learns what to become: a run's program, a client's, or the scout
of the memory that programs need."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence

from . import requests
from .invocation import Invocation, absolute, invocation_of
from .languages import Language
from .launcher import Launcher
from .layout import Layout
from .preloaded import HOOK
from .privileges import (
    SANDBOX_UID,
    ZYGOTE_UID,
    ProcessLimits,
    become_sandbox_user,
    belong_to_self,
    name_self,
    sacrifice_self,
)
from .program import Program, become
from .requests import BEGUN, EVENT, Situation
from .source import Source

# Programs that find out which pages of memory are touched by one that does next to nothing, and by
# one such as many begin with.
LITTLE, MUCH = "little", "much"
# As those of the container, which apply all the same.
SCOUT_LIMITS = ProcessLimits(cpu_seconds=10, open_files=1024, file_bytes=1024**3)


def serve_run(
    program: Program, descriptors: Sequence[int], launcher: Launcher, uid: int = SANDBOX_UID
) -> None:
    stdout, stderr, tell = descriptors
    command = become(program, stdout, stderr, tell, uid)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    name_self(b"python3")
    arguments = [os.fsdecode(argument) for argument in command.arguments]
    launcher.launch(
        Invocation(
            arguments=arguments,
            environment={k.encode(): v.encode() for k, v in command.environment.items()},
            kind="file",
            program=absolute(arguments[1]),
            argv=arguments[1:],
        )
    )


def scout(name: str, pages: int, launcher: Launcher) -> None:
    """Run this program as the zygote's own user, and say in the end which pages it has touched."""
    program = Program(
        Layout()._replace(workspace="/"),
        Language(("python3",), f"{name}.py", beside_files=False),
        Source(f"{HOOK}/scout_{name}.py", f"{name}.py", 0, ""),
        args=[],
        limits=SCOUT_LIMITS,
    )
    launcher.begin_scouting()
    nowhere = os.open("/dev/null", os.O_WRONLY)
    serve_run(program, (nowhere, pages, nowhere), launcher, ZYGOTE_UID)


def serve_client(connection: socket.socket, launcher: Launcher) -> None:
    # Other programs can get at what this has open as soon as it is one of theirs, and it may stay
    # so for long: nothing of the runner's is among it.
    os.dup2(0, 2)
    become_sandbox_user()
    belong_to_self()
    os.setsid()
    sacrifice_self()
    try:
        invocation = _take_over(connection)
    except Exception:  # noqa: BLE001 - the image's `python3` sees it and does without, in silence
        os._exit(126)
    launcher.launch(invocation)


def _take_over(connection: socket.socket) -> Invocation:
    situation = requests.receive(connection)
    client = requests.peer(connection)
    keep = situation.take_over(connection.detach())
    set_signals(situation)
    name_self(situation.name)
    invocation = invocation_of(situation, client)
    # From here on the program has begun, and nobody else may run it.
    os.write(keep, EVENT.pack(BEGUN, 0))
    os.close(keep)
    return invocation


def set_signals(situation: Situation) -> None:
    for number in sorted(situation.ignored):
        if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, situation.blocked)
