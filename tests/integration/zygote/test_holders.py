"""A program's memory is taken down when its answer is out, by the end of a process that the program
has no hold of, though it can write to all of its memory."""

from __future__ import annotations

import json
import platform
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


def test_each_program_has_one_that_goes_when_it_has_ended(sandbox: Sandbox) -> None:
    inside = Inside(sandbox)
    before = of_spare(inside).pid
    during: set[int] = set()
    with meanwhile(sandbox, lambda inside: during.update(holders(inside))):
        assert sandbox.output(WAIT) == ""
    # And the next spare's.
    assert before in during
    assert len(during) == 2
    after = of_spare(inside).pid
    assert after != before
    wait_until(lambda: holders(inside) == {after})
    assert sandbox.bash("for i in 1 2 3; do python3 -c 'print(1)'; done | wc -l") == "3\n"
    last = of_spare(inside).pid
    wait_until(lambda: holders(inside) == {last})


def test_a_program_that_becomes_a_plain_interpreter_has_none_of_its_memory(
    sandbox: Sandbox,
) -> None:
    # With such a file beside it, the preloaded modules are not the program's.
    sandbox.put({"numpy.py": b""})
    # That of the next spare is left.
    with meanwhile(sandbox, lambda inside: wait_until(lambda: len(holders(inside)) == 1)):
        assert sandbox.output("import numpy; print(numpy.__file__)\n" + WAIT).endswith("numpy.py\n")
    sandbox.remove(["numpy.py"])


LATER = """
import mmap, os, time
memory = mmap.mmap(-1, 100 * 2**20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.write(b"x" * len(memory))
time.sleep(0.3)
open("/tmp/ready", "w").close()
os.execvp("bash", ["bash", "-c", "until [ -e /tmp/go ]; do sleep 0.01; done"])
"""


def test_nor_one_that_becomes_something_else_later(sandbox: Sandbox) -> None:
    with meanwhile(sandbox, lambda inside: wait_until(lambda: len(holders(inside)) == 1)):
        assert sandbox.output(LATER) == ""


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


def test_many_at_once_do_not_take_many_processes(sandbox: Sandbox) -> None:
    inside = Inside(sandbox)
    seen: list[int] = []
    wait = 'open(f"/tmp/n{os.getpid()}", "w"); '
    bash = f"""
    for i in $(seq 12); do python3 -c 'import os, time; {wait}
while not os.path.exists("/tmp/go"): time.sleep(0.01)' & done
    until [ $(ls /tmp/n* 2>/dev/null | wc -l) = 12 ]; do sleep 0.05; done
    touch /tmp/ready; wait; rm /tmp/n*; echo done
    """
    with meanwhile(sandbox, lambda inside: seen.append(len(holders(inside)))):
        assert sandbox.bash(bash) == "done\n"
    # Those of four programs, and the spare's.
    assert seen == [5]
    last = of_spare(inside).pid
    wait_until(lambda: holders(inside) == {last})


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


# The holder's next instruction is the system call in libc's function of that name. There, in memory
# that it shares with the program, the program puts a jump to code that says that it was here, and
# then makes a file.
TAKE_OVER = r"""
import ctypes, mmap, os, struct, time
libc = ctypes.CDLL(None)
function = ctypes.cast(libc.syscall, ctypes.c_void_p).value
instruction = function + ctypes.string_at(function, 64).index(b"\x0f\x05")
memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
was_here, name = start + 2048, start + 3072
memory[3072:3087] = b"/tmp/taken-over"
code = b"\x48\xb8" + struct.pack("<Q", was_here) + b"\xc6\x00\x01"
code += b"\xb8\x02\x00\x00\x00\x48\xbf" + struct.pack("<Q", name)
code += b"\xbe\x41\x00\x00\x00\xba\xb6\x01\x00\x00\x0f\x05\xeb\xfe"
memory[:len(code)] = code
jump = b"\xff\x25\x00\x00\x00\x00" + struct.pack("<Q", start)
page = instruction & ~4095
assert libc.mprotect(ctypes.c_void_p(page), 8192, 7) == 0
ctypes.memmove(instruction, jump, len(jump))
open("/tmp/ready", "w").close()
while not os.path.exists("/tmp/go"): time.sleep(0.01)
print(memory[2048], os.path.exists("/tmp/taken-over"))
"""


@pytest.mark.skipif(
    platform.machine() != "x86_64", reason="NOT tested, it is written in this processor's code"
)
def test_a_program_that_takes_it_over_has_gained_nothing(sandbox: Sandbox) -> None:
    holder = of_spare(Inside(sandbox)).pid

    def wake(inside: Inside) -> None:
        # No program can do that to it; a host can, when it stops a container for a moment.
        inside.kill(holder, "STOP")
        inside.kill(holder, "CONT")
        wait_until(lambda: holder not in holders(inside))

    with meanwhile(sandbox, wake):
        # Its first call to the kernel was its end.
        assert sandbox.output(TAKE_OVER) == "1 False\n"
