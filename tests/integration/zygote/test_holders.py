"""A program's memory is taken down when its answer is out, by the end of a process that the program
has no hold of, though it can write to all of its memory."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sandbox.confinement import confinement
from sandbox.runner.privileges import ZYGOTE_UID
from tests.containers import MB, Sandbox
from tests.integration.zygote.inside import Inside, Seen, hot_sandbox, wait_until
from tests.integration.zygote.test_life import WAIT, meanwhile


def holders(inside: Inside) -> set[int]:
    zombies = [p for p in inside.processes() if (p.uid, p.state) == (ZYGOTE_UID, "Z")]
    return {p.pid for p in zombies if p.threads > 1}


def of_spare(inside: Inside) -> Seen:
    return inside.own().holder


LOOK = """
import json, os, sys
found = {}
for task in os.listdir(f"/proc/{sys.argv[1]}/task"):
    if task != sys.argv[1]:
        lines = open(f"/proc/{sys.argv[1]}/task/{task}/status").read().splitlines()
        found = dict(line.split(":", 1) for line in lines)
print(json.dumps({name: value.split() for name, value in found.items()}))
"""


def test_it_waits_without_rights(sandbox: Sandbox) -> None:
    inside = Inside(sandbox)
    holder = of_spare(inside)
    status = json.loads(inside.execute("/opt/sandbox/python3", "-c", LOOK, str(holder.pid)))
    assert {uid for name in ("Uid", "Gid") for uid in status[name]} == {str(ZYGOTE_UID)}
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name][0], 16) == 0
    assert status["State"][0] == "S"
    assert (status["NoNewPrivs"], status["Seccomp"]) == (["1"], ["2"])
    # What an engine lets containers do is a filter of its own.
    assert int(status["Seccomp_filters"][0]) > 1
    assert (holder.cmdline, holder.name) == ("", "holder")


SEEN = """
import contextlib, os
for pid in filter(str.isdecimal, os.listdir("/proc")):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
        if "(holder) Z" in file.read(): print(pid)
"""


def test_each_program_has_one_that_goes_when_it_has_ended(sandbox: Sandbox) -> None:
    inside = Inside(sandbox)
    # It can be gone before a slow program has looked for it.
    wait_until(lambda: str(of_spare(inside).pid) in sandbox.output(SEEN).split())
    after = of_spare(inside).pid
    wait_until(lambda: holders(inside) == {after})
    assert sandbox.bash("for i in 1 2 3; do python3 -c 'print(1)'; done | wc -l") == "3\n"
    last = of_spare(inside).pid
    wait_until(lambda: holders(inside) == {last})


def test_one_that_goes_on_has_none(sandbox: Sandbox) -> None:
    before = of_spare(Inside(sandbox)).pid

    def look(inside: Inside) -> None:
        # That of the next spare is left.
        wait_until(lambda: len(holders(inside) - {before}) == len(holders(inside)) == 1)

    with meanwhile(sandbox, look):
        assert sandbox.output(WAIT) == ""


def test_where_few_processes_are_allowed_no_program_has_one() -> None:
    with hot_sandbox(replace(confinement(), pids=32)) as sandbox:
        inside = Inside(sandbox)
        with meanwhile(sandbox, lambda inside: wait_until(lambda: not holders(inside))):
            assert sandbox.output(WAIT) == ""
        assert sandbox.bash("for i in 1 2 3; do python3 -c 'print(1)'; done | wc -l") == "3\n"
        assert holders(inside) == set()


IN_MEMORY = """
import mmap, os
with open("/dev/shm/kept", "w+b") as file:
    file.truncate(50 * 2**20)
    memory = mmap.mmap(file.fileno(), 0)
os.unlink("/dev/shm/kept")
memory.write(b"x" * len(memory))
"""
ROOM = "import os; room = os.statvfs('/dev/shm'); print(room.f_blocks - room.f_bfree)"


def test_what_was_in_files_that_are_gone_is_free_at_once(sandbox: Sandbox) -> None:
    for _ in range(5):
        assert sandbox.output(IN_MEMORY) == ""
        assert sandbox.output(ROOM) == "0\n"
        both = f"python3 -c '{IN_MEMORY}'; python3 -c \"{ROOM}\""
        assert sandbox.bash(both) == "0\n"


@pytest.mark.parametrize("mb", [60, 200, 320])
def test_the_next_program_has_the_memory_that_one_had(sandbox: Sandbox, mb: int) -> None:
    large = f"kept = bytearray({mb} * 2**20); kept[::4096] = b'x' * len(kept[::4096])"
    bash = f'for i in 1 2 3 4 5; do python3 -c "{large}" || echo failed; done; echo done'
    for _ in range(3):
        result = sandbox.run(bash, language="bash")
        assert (result.stdout, result.oom_kills) == (b"done\n", 0)
        result = sandbox.run(large)
        assert (result.exit_code, result.oom_kills) == (0, 0)
        assert (result.peak_memory_bytes or 0) > mb * MB


@pytest.mark.parametrize("files_mb", [0, 250])
@pytest.mark.parametrize(
    "hog",
    ["kept = bytearray(2**30)", "import numpy; numpy.zeros(2**30, dtype=numpy.uint8)[::4096] = 1"],
)
def test_a_program_that_takes_all_memory_takes_nobody_along(hog: str, files_mb: int) -> None:
    """Whoever asks for memory before all of that program's is free would be killed as well."""
    with hot_sandbox() as sandbox:
        sandbox.put({"file": b"x" * files_mb * MB})
        for _ in range(20):
            result = sandbox.run(f"python3 -c '{hog}'; echo $?", language="bash")
            assert (result.stdout, result.oom_kills) == (b"137\n", 1)
            result = sandbox.run(hog)
            assert (result.signal, result.oom_kills) == ("SIGKILL", 1)
