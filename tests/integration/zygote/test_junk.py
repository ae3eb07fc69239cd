"""Junk on the zygote's socket: none of it hurts anybody but the one who sends it."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sandbox.confinement import confinement
from tests import junk
from tests.containers import MB, Sandbox
from tests.integration.zygote.inside import (
    CPUS,
    Inside,
    Seen,
    hot_sandbox,
    is_well,
    served,
    wait_until,
)

MESSAGES = 60
# What Python's allocator may take and keep.
GROWTH_KB = 8 * 1024


@pytest.fixture(scope="module")
def sandbox(hot: Sandbox) -> Sandbox:
    hot.put({"junk.py": Path(junk.__file__).read_bytes()})
    return hot


@pytest.fixture(autouse=True)
def zygote_is_unhurt(sandbox: Sandbox) -> Iterator[None]:
    before = Inside(sandbox).own().zygote
    yield
    assert_unhurt(sandbox, before)


def assert_unhurt(sandbox: Sandbox, before: Seen) -> None:
    assert is_well(sandbox)
    after = Inside(sandbox).own().zygote
    assert (after.pid, after.fds) == (before.pid, before.fds)
    assert after.rss_kb - before.rss_kb < GROWTH_KB


# --- messages of all kinds ---

SEND = """
import json, os, socket, sys
sys.path.insert(0, "/mnt/data")
import junk
pair = socket.socketpair()
listening = socket.socket(socket.AF_UNIX)
listening.bind("\\0listening"); listening.listen()
paths = {"null": "/dev/null", "file": "messages.json"}
known = {name: os.open(path, os.O_RDWR) for name, path in paths.items()}
known["directory"] = os.open(".", os.O_RDONLY)
known["path"] = os.open("/", os.O_PATH)
known["pipe"] = os.pipe()[0]
known["socket"] = pair[0].fileno()
known["listening"] = listening.fileno()
held = []
refused = 0
for message in json.load(open("messages.json")):
    try:
        connection = junk.connect(2)
    except OSError:
        held.clear()
        continue
    known["itself"] = connection.fileno()
    if held:
        known["another"] = held[-1].fileno()
    descriptors = [known[name] for name in message["descriptors"] if name in known]
    try:
        if message["listen"]:
            junk.event(connection)
        for number, piece in enumerate(message["pieces"]):
            # Those that come with a later piece are nobody's.
            with_it = descriptors if number in message["with"] else []
            if piece:
                junk.send(connection, bytes.fromhex(piece), with_it)
        if message["end"] == "answer":
            connection.settimeout(0.05)
            junk.event(connection)
        elif message["end"] == "shutdown":
            connection.shutdown(socket.SHUT_WR)
    except OSError:
        refused += 1
    if message["end"] in ("hold", "shutdown"):
        held.append(connection)
    else:
        connection.close()
    del held[:-20]
print("sent", flush=True)
os._exit(0)
"""

UINT32 = st.sampled_from([0, 1, 2, 3, 4, 5, 255, 2**31 - 1, 2**31, 2**32 - 1]) | st.integers(
    0, 2**32 - 1
)
UINT64 = st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64 - 2]) | st.integers(0, 2**64 - 1)
CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "magic": UINT32,
    "descriptors": UINT32,
    "arguments": UINT32,
    "variables": UINT32,
    "kind": st.sampled_from(sorted(junk.KINDS.values())) | UINT32,
    "first": UINT32,
    "offset": UINT32,
    "unbuffered": UINT32,
    "umask": UINT32,
    "nice": st.sampled_from([-20, 19, 20, -(2**31), 2**31 - 1]),
    "ignored": UINT64,
    "blocked": UINT64,
    "limits": st.lists(UINT64, min_size=32, max_size=32),
    "affinity": st.sampled_from([0, 1, 2**1023]) | st.integers(0, 2**1024 - 1),
    "name": st.binary(max_size=16),
}
ARGUMENTS = st.lists(
    st.sampled_from([b"", b"python3", b"-c", b"1", b"-m", b"-", b"/", b"\xff", b"x" * 70_000])
    | st.binary(max_size=20),
    max_size=6,
)


@st.composite
def nearly_right(draw: st.DrawFn) -> bytes:
    numbers = draw(st.just([0, 1, 2]) | st.lists(st.integers(-2, 2000), max_size=6))
    arguments = draw(st.just([b"python3", b"-c", b"1"]) | ARGUMENTS)
    rest = junk.payload(numbers, arguments, {b"PATH": b"/bin"})
    changed = draw(st.sets(st.sampled_from(sorted(CHANGES)), max_size=3))
    fields: dict[str, Any] = {
        "descriptors": len(numbers),
        "arguments": len(arguments),
        "variables": 1,
        **{name: draw(CHANGES[name]) for name in sorted(changed)},
    }
    size = draw(st.just(len(rest)) | UINT32)
    return junk.head(size, **fields) + rest


DESCRIPTORS = st.just(["directory", "null", "null", "null"]) | st.lists(
    st.sampled_from(
        ["null", "file", "directory", "path", "pipe", "socket", "listening", "itself", "another"]
    ),
    max_size=8,
)


@st.composite
def message(draw: st.DrawFn) -> dict[str, Any]:
    data = draw(st.binary(max_size=junk.HEAD.size + 50) | nearly_right() | nearly_right())
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=2)))
    bounds = [0, *cuts, draw(st.just(len(data)) | st.integers(0, len(data)))]
    pieces = [data[a:b] for a, b in zip(bounds, [*bounds[1:], len(data)], strict=True) if b > a]
    return {
        "pieces": [piece.hex() for piece in pieces],
        "descriptors": draw(DESCRIPTORS | st.just(["null"] * 253)),
        "with": draw(st.just([0]) | st.just([1]) | st.just([0, 1]) | st.just([])),
        "listen": draw(st.booleans()),
        "end": draw(st.sampled_from(["close", "hold", "answer", "shutdown"])),
    }


@settings(
    max_examples=6,
    deadline=None,
    # Another try takes seconds; the batch that fails is what there is to look at.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(messages=st.lists(message(), min_size=MESSAGES, max_size=MESSAGES))
def test_messages_of_all_kinds(sandbox: Sandbox, messages: list[dict[str, Any]]) -> None:
    before = Inside(sandbox).own().zygote
    sandbox.put({"messages.json": json.dumps(messages).encode()})
    result = sandbox.run(SEND, wall_seconds=60)
    assert result.stdout == b"sent\n", result.stderr
    assert_unhurt(sandbox, before)


# --- by hand ---

PREPARE = """
import array, os, resource, socket, sys, time
sys.path.insert(0, "/mnt/data")
import junk
sys.stdout.reconfigure(line_buffering=True)
cwd = os.open(".", os.O_RDONLY)
null = os.open("/dev/null", os.O_RDWR)
four = [cwd, null, null, null]
def writes(path, text="x", then=""):
    return junk.program(f"open({path!r}, 'a').write({text!r}); {then}")
def wait_for(path):
    deadline = time.monotonic() + 20
    while not os.path.exists(path):
        assert time.monotonic() < deadline, path
        time.sleep(0.01)
"""


def test_a_request_in_order_is_served_whoever_sends_it(sandbox: Sandbox) -> None:
    """Otherwise nothing in this file would prove anything."""
    code = """
c = junk.connect()
what, pid = junk.event(c)
junk.send(c, writes("made"), four)
print(what, junk.event(c)[0], junk.event(c), open("made").read())
c = junk.connect()
junk.send(c, junk.program("import os; os.kill(os.getpid(), 9)"), four)
print([junk.event(c)[0] for _ in "PB"], junk.event(c), c.recv(1))
"""
    assert sandbox.output(PREPARE + code) == "P B ('E', 0) x\n['P', 'B'] ('E', 9) b''\n"
    sandbox.remove(["made"])


def test_at_every_stage_the_other_end_may_go(sandbox: Sandbox) -> None:
    code = """
whole = writes("begun", then="import time; time.sleep(60)")
for size in [0, 1, 100, junk.HEAD.size - 1, junk.HEAD.size, junk.HEAD.size + 5, len(whole) - 1]:
    for listens in (False, True):
        c = junk.connect()
        if listens: junk.event(c)
        if size: junk.send(c, whole[:size], four)
        c.close()
print(os.path.exists("begun"))
c = junk.connect(); pid = junk.event(c)[1]
junk.send(c, whole, four)
wait_for("begun")
c.close()
deadline = time.monotonic() + 20
while os.path.exists(f"/proc/{pid}"): assert time.monotonic() < deadline
"""
    assert sandbox.output(PREPARE + code) == "False\n"
    sandbox.remove(["begun"])


def test_silence_holds_nothing_of_the_runners(sandbox: Sandbox) -> None:
    """What takes the request has the programs' uid, so that they can get at what it has open."""
    code = """
c = junk.connect()
what, pid = junk.event(c)
deadline = time.monotonic() + 20
while os.stat(f"/proc/{pid}").st_uid != os.getuid(): assert time.monotonic() < deadline
time.sleep(0.2)
links = [os.readlink(file.path).partition(":")[0] for file in os.scandir(f"/proc/{pid}/fd")]
status = open(f"/proc/{pid}/status").read()
print(sorted(links), [line.split()[1] for line in status.splitlines() if line.startswith("Cap")])
print("SANDBOX" in open(f"/proc/{pid}/environ").read())
"""
    nothing = [f"{0:016x}"] * 5
    held = ["/dev/null", "/dev/null", "/dev/null", "socket"]
    assert sandbox.output(PREPARE + code) == f"{held} {nothing}\nFalse\n"


def while_stopped(sandbox: Sandbox, code: str) -> str:
    """What a program prints that goes on, after `wait_for("go")`, with a zygote that does not. No
    child of the zygote's, which could not end then."""
    inside = Inside(sandbox)
    zygote = inside.zygote()

    def stop() -> None:
        wait_until(lambda: "ready" in inside.execute("/bin/ls", "/tmp"))
        inside.kill(zygote, "STOP")
        inside.execute("/bin/touch", "/tmp/go", user="10001")

    helper = threading.Thread(target=stop)
    helper.start()
    try:
        return sandbox.bash(f"/opt/sandbox/python3 - <<'PROGRAM'\n{PREPARE}{code}\nPROGRAM")
    finally:
        helper.join()
        inside.kill(zygote, "CONT")
        sandbox.bash("rm -f /tmp/ready /tmp/go")


def test_who_waits_at_the_door_is_sent_away_after_the_run(sandbox: Sandbox) -> None:
    """A connection is open as long as any process, or any other connection that nobody has taken
    yet, has its end."""
    code = """
ghost = junk.program('open("/tmp/ghosts", "a").write("x")')
open("/tmp/ready", "w"); wait_for("/tmp/go")
waiting = []
for _ in range(20):
    c = junk.connect(); junk.send(c, ghost, four); waiting.append(c)
holder = junk.connect()
for c in waiting:
    rights = array.array("i", [c.fileno()])
    holder.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
"""
    before = served(sandbox)
    assert while_stopped(sandbox, code) == ""
    assert sandbox.bash("sleep 0.5; ls /tmp | grep ghosts || true") == ""
    assert served(sandbox) == before


@pytest.mark.parametrize("held", [False, True], ids=["dropped", "held"])
def test_ten_thousand_connections(sandbox: Sandbox, held: bool) -> None:
    code = f"""
made = tried = 0
kept = []
deadline = time.monotonic() + 6
while tried < 10_000 and time.monotonic() < deadline:
    tried += 1
    c = socket.socket(socket.AF_UNIX)
    c.setblocking(False)
    try: c.connect(junk.SOCKET); made += 1
    except BlockingIOError: c.close(); time.sleep(0); continue
    if {held}: kept.append(c)
    else: c.close()
    if len(kept) > 900: kept.clear()
print(tried, made)
os._exit(0)
"""
    result = sandbox.run(PREPARE + code)
    if result.oom_kills:
        # Each connection that is held costs it a process and some megabytes, all of them its own.
        assert held
        assert result.signal in ("SIGKILL", None)
        return
    assert (result.exit_code, result.reason, result.stderr) == (0, "exit", b"")
    tried, made = map(int, result.stdout.split())
    assert tried == 10_000
    assert made > 100


def test_a_client_that_never_reads(sandbox: Sandbox) -> None:
    code = """
import signal
c = junk.connect(); pid = junk.event(c)[1]
c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
junk.send(c, junk.program('''
import os, signal, time
while True: os.kill(os.getpid(), signal.SIGSTOP)
'''), four)
time.sleep(0.2)
for _ in range(3000):
    os.kill(pid, signal.SIGCONT)
    time.sleep(0.0003)
import subprocess
print(subprocess.run(["python3", "-c", "print(7)"], capture_output=True, text=True).stdout)
"""
    assert sandbox.output(PREPARE + code) == "7\n\n"


def test_clients_at_the_limit_of_processes_run_each_program_at_most_once() -> None:
    code = """
import subprocess, sys
program = "import os, time; os.write(1, b'x'); time.sleep(1)"
started, refused = [], 0
for number in range(200):
    with open(f"out{number}", "wb") as out:
        try: started.append(subprocess.Popen(["python3", "-c", program], stdout=out))
        except OSError: refused += 1
began = time.monotonic()
codes = [process.wait() for process in started]
sizes = {os.path.getsize(f"out{number}") for number in range(200)}
print(refused > 0, len(started) > 30, sizes == {0, 1}, time.monotonic() - began < 15)
outs = sum(os.path.getsize(f"out{number}") for number in range(200))
print(outs >= codes.count(0) > 0)
time.sleep(0.5)
began = time.monotonic()
print(subprocess.run(["python3", "-c", "print(8)"], capture_output=True, text=True).stdout)
print(time.monotonic() - began < 1)
"""
    expected = "True True True True\nTrue\n8\n\nTrue\n"
    # Of processes, and not of memory, which some hundred interpreters may well use up.
    with hot_sandbox(replace(confinement(), cpus=CPUS, memory_bytes=2048 * MB)) as sandbox:
        sandbox.put({"junk.py": Path(junk.__file__).read_bytes()})
        before = Inside(sandbox).own().zygote
        assert sandbox.output(PREPARE + code) == expected
        assert_unhurt(sandbox, before)


def test_no_spare_can_be_had_and_python3_does_without(sandbox: Sandbox) -> None:
    """All processes are taken, but for the client itself."""
    code = """
import signal, subprocess, threading
sleepers = []
try:
    while True:
        pid = os.fork()
        if pid == 0: time.sleep(60); os._exit(0)
        sleepers.append(pid)
except OSError: pass
# One for the client, and none for a spare in place of the one that this takes.
os.kill(sleepers.pop(), 9); os.waitpid(-1, 0)
def run():
    began = time.monotonic()
    done = subprocess.run(["python3", "-c", "print(9)"], capture_output=True, text=True)
    return done.stdout, time.monotonic() - began < 6
print(run())
print(run())
for pid in sleepers: os.kill(pid, 9)
for pid in sleepers: os.waitpid(pid, 0)
time.sleep(0.3)
print(run())
"""
    before = served(sandbox)
    assert sandbox.output(PREPARE + code) == "('9\\n', True)\n" * 3
    assert served(sandbox) >= before + 2


def test_descriptors_that_hold_the_connection_itself(sandbox: Sandbox) -> None:
    """A program that has its own connection among its descriptors is its own client."""
    code = """
c = junk.connect(); pid = junk.event(c)[1]
junk.send(c, junk.program("import time; time.sleep(600)"), [cwd, c.fileno(), c.fileno(), null])
print(junk.event(c)[0])
c.close()
for _ in range(30):
    c = junk.connect()
    # The kernel counts what is under way.
    try: junk.send(c, struct_junk, [cwd, *[c.fileno()] * 200])
    except OSError: pass
    c.close()
os._exit(0)
""".replace("struct_junk", repr(struct.pack("=I", junk.MAGIC)))
    result = sandbox.run(PREPARE + code)
    assert (result.stdout, result.stderr) == (b"B\n", b"")


def test_the_socket_itself_cannot_be_taken_away(sandbox: Sandbox) -> None:
    code = """
import errno
def attempt(action, *args):
    try: action(*args); return "done"
    except OSError as error: return errno.errorcode[error.errno]
s = socket.socket(socket.AF_UNIX)
print(attempt(os.unlink, junk.SOCKET), attempt(os.rename, junk.SOCKET, "/run/code/x"),
      attempt(os.rename, "junk.py", junk.SOCKET), attempt(s.bind, junk.SOCKET),
      attempt(s.bind, "/run/code/other"), attempt(os.chmod, junk.SOCKET, 0),
      attempt(os.symlink, "/tmp/x", "/run/code/link"), attempt(os.link, junk.SOCKET, "/tmp/link"))
"""
    answers = sandbox.output(PREPARE + code).split()
    assert set(answers) <= {"EACCES", "EPERM", "EADDRINUSE", "EXDEV"}
    assert len(answers) == 8


def test_a_run_does_not_wait_for_the_door(sandbox: Sandbox) -> None:
    """With the queue full, and nobody let in, `python3` gives up after some seconds."""
    code = """
import subprocess
open("/tmp/ready", "w"); wait_for("/tmp/go")
kept = []
while True:
    c = socket.socket(socket.AF_UNIX); c.setblocking(False)
    try: c.connect(junk.SOCKET)
    except BlockingIOError: break
    kept.append(c)
began = time.monotonic()
print(subprocess.run(["python3", "-c", "print(6)"], capture_output=True, text=True).stdout)
print(time.monotonic() - began < 6)
for c in kept: c.close()
"""
    assert while_stopped(sandbox, code) == "6\n\nTrue\n"
