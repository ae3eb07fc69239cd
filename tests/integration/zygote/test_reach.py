"""The zygote is out of the programs' reach, and so is whatever it goes by when it starts."""

from __future__ import annotations

import json

import pytest

from sandbox.runner.privileges import SANDBOX_UID
from tests.containers import Sandbox
from tests.integration.zygote.inside import (
    Inside,
    get_hot,
    hot_sandbox,
    is_well,
    served,
    wait_until,
)

PLAIN = "exec -a python3 /opt/sandbox/python3"


ATTEMPTS = """
import contextlib, ctypes, errno, os, resource, signal, sys, time
libc = ctypes.CDLL(None, use_errno=True)
done = []
def attempt(name, action, *args):
    try: result = action(*args)
    except (PermissionError, ProcessLookupError): return
    except OSError as error:
        if error.errno == errno.ENOENT and not os.path.exists(f"/proc/{pid}"): return
        if error.errno not in (errno.EACCES, errno.EPERM): done.append((name, str(error)))
        return
    # A holder's first thread has no memory any more.
    if result != b"" or not is_zombie(args[0]): done.append((name, repr(result)[:50]))
def read(pid, name):
    with open(f"/proc/{pid}/{name}", "rb") as file: return file.read(1)
def is_holder(pid):
    try:
        with open(f"/proc/{pid}/comm") as file: return file.read() == "holder\\n"
    except (FileNotFoundError, ProcessLookupError): return False
def is_zombie(pid):
    try: return open(f"/proc/{pid}/stat").read().rpartition(") ")[2][0] == "Z"
    except (FileNotFoundError, ProcessLookupError): return True
def write(path):
    with open(path, "wb", buffering=0) as file: file.write(b"0")
def call(name, *args):
    ctypes.set_errno(0)
    if libc.syscall(*args) != -1: done.append((name, args[1:]))
buffer = ctypes.create_string_buffer(64)
class Vector(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
vector = Vector(ctypes.addressof(buffer), 8)
def threads_of_others():
    found = set()
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if os.stat(f"/proc/{pid}").st_uid != os.getuid():
                found.update(map(int, os.listdir(f"/proc/{pid}/task")))
    return found
def others():
    # This program's own holder first, which is not there for long.
    yield from sorted(first := threads_of_others(), reverse=True)
    # PID 1, the zygote, the next spare and its holder, which is two threads; perhaps a helper.
    for _ in range(100):
        now = threads_of_others()
        if len(now) >= 5 and not now <= first: break
        time.sleep(0.05)
    yield from sorted(now - first, reverse=True)
tried = holders = 0
for pid in others():
    tried += 1
    holders += is_holder(pid)
    for number in signal.valid_signals(): attempt(f"kill {number}", os.kill, pid, number)
    # Group 1 would mean everybody.
    if pid != 1: attempt("killpg", os.killpg, pid, 0)
    for name in ("mem", "environ", "maps", "smaps", "auxv", "stack", "syscall", "io", "pagemap",
                 "personality"):
        # The kernel lets everybody read where his own memory is, which the holder shares.
        if name in ("maps", "smaps") and is_holder(pid): continue
        if os.path.exists(f"/proc/{pid}/{name}"):
            attempt(f"read {name}", read, pid, name)
    for name in ("fd", "fdinfo", "map_files"):
        if os.path.exists(f"/proc/{pid}/{name}"):
            attempt(f"list {name}", os.listdir, f"/proc/{pid}/{name}")
    for name in ("cwd", "root", "exe", "fd/0", "fd/3", "fd/4", "ns/mnt", "ns/user"):
        attempt(f"follow {name}", os.readlink, f"/proc/{pid}/{name}")
        attempt(f"open {name}", os.open, f"/proc/{pid}/{name}", os.O_RDONLY)
    for name in ("mem", "oom_score_adj", "comm", "fd/1", "clear_refs", "coredump_filter", "sched",
                 "autogroup", "timerslack_ns", "uid_map", "setgroups"):
        if os.path.exists(f"/proc/{pid}/{name}"):
            attempt(f"write {name}", write, f"/proc/{pid}/{name}")
    attempt("prlimit", resource.prlimit, pid, resource.RLIMIT_NOFILE, (1, 1))
    attempt("prlimit read", resource.prlimit, pid, resource.RLIMIT_NOFILE)
    attempt("nice", os.setpriority, os.PRIO_PROCESS, pid, 19)
    attempt("affinity", os.sched_setaffinity, pid, {0})
    attempt("scheduler", os.sched_setscheduler, pid, os.SCHED_BATCH, os.sched_param(0))
    call("ioprio", 251, 1, pid, 3 << 13)
    for request in (16, 0x4206): call("ptrace", 101, request, pid, 0, 0)
    call("process_vm_readv", 310, pid, ctypes.byref(vector), 1, ctypes.byref(vector), 1, 0)
    call("process_vm_writev", 311, pid, ctypes.byref(vector), 1, ctypes.byref(vector), 1, 0)
    call("kcmp", 312, os.getpid(), pid, 0, 0, 0)
    call("migrate_pages", 256, pid, 0, 0, 0)
    call("perf_event_open", 298, buffer, pid, -1, -1, 0)
    handle = libc.syscall(434, pid, 0)
    if handle >= 0:
        for fd in range(5): call("pidfd_getfd", 438, handle, fd, 0)
        for number in (0, 9): call("pidfd_send_signal", 424, handle, number, 0, 0)
        call("process_madvise", 440, handle, ctypes.byref(vector), 1, 4, 0)
        call("process_mrelease", 448, handle, 0)
        call("setns", 308, handle, 0x20000000)
    call("setpgid", 109, pid, 0)
print(tried >= 5, holders >= 4, done)
"""


@pytest.mark.parametrize("language", ["py", "bash"])
def test_there_is_nothing_to_be_done_to_it(sandbox: Sandbox, language: str) -> None:
    code = ATTEMPTS if language == "py" else f"python3 - <<'PROGRAM'\n{ATTEMPTS}\nPROGRAM"

    def has_tried_its_own_holder() -> bool:
        result = sandbox.run(code, language=language)
        assert result.stderr == b""
        tried, own, done = result.stdout.split(maxsplit=2)
        assert (tried, done) == (b"True", b"[]\n")
        return own == b"True"

    # Which can be gone before a slow program has found it.
    wait_until(has_tried_its_own_holder)


ALONE = """
import os
mine = [pid for pid in os.listdir("/proc") if pid.isdecimal() and int(pid) != os.getpid()
        and os.stat(f"/proc/{pid}").st_uid == os.getuid()]
print([(pid, open(f"/proc/{pid}/comm").read()) for pid in mine])
"""


def test_whoever_read_the_files_of_the_last_run_is_gone_when_the_next_begins(
    sandbox: Sandbox,
) -> None:
    sandbox.output("open('result.txt', 'w').write('x')")
    for _ in range(10):
        # It was the programs' user, with the runner's stream open.
        assert set(sandbox.files()) >= {"result.txt"}
        assert sandbox.output(ALONE) == "[]\n"
    sandbox.remove(["result.txt"])


def test_signals_do_not_reach_the_runner_while_it_kills(sandbox: Sandbox) -> None:
    """For that moment it is one of the programs' user, to whom they may send signals."""
    code = """
import os, signal, time
for _ in range(5):
    if os.fork() == 0:
        while True:
            for number in signal.valid_signals():
                try: os.kill(1, number)
                except PermissionError: pass
time.sleep(0.2)
print("end")
"""
    for _ in range(5):
        assert sandbox.output(code) == "end\n"


STATUS = r"""
import ctypes, json, os
libc = ctypes.CDLL(None)
names = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
         "Seccomp_filters", "Groups", "Uid", "Gid", "SigBlk", "SigIgn", "Umask", "Cpus_allowed")
lines = [line.split(":", 1) for line in open("/proc/self/status")]
found = {name: value.split() for name, value in lines if name in names}
for name, option in (("dumpable", 3), ("securebits", 27), ("keepcaps", 7), ("subreaper_", 0)):
    if option: found[name] = libc.prctl(option, 0, 0, 0, 0)
found["deathsig"] = libc.prctl(2, ctypes.byref(ctypes.c_int(0)), 0, 0, 0)
found["oom"] = open("/proc/self/oom_score_adj").read()
found["limits"] = open("/proc/self/limits").read()
found["session"] = os.getsid(0) != 0
shown = open("/proc/self/environ", "rb").read().split(b"\0")
found["variables"] = sorted(item.partition(b"=")[0].decode() for item in shown)
found["environ"] = sorted(os.environ)
found["fds"] = sorted(os.listdir("/proc/self/fd"))
found["links"] = [os.readlink(f"/proc/self/fd/{n}").partition(":")[0] for n in (0, 1, 2)]
print(json.dumps(found, sort_keys=True))
"""


OF_BASH = {"SHLVL", "_", "OLDPWD", "PYTHONPATH", "NODE_PATH"}


def test_its_programs_have_what_those_of_a_plain_interpreter_have(sandbox: Sandbox) -> None:
    before = served(sandbox)
    sandbox.put({"status.py": STATUS.encode()})
    ours = json.loads(sandbox.output(STATUS))
    client, plain = (
        json.loads(sandbox.bash(f"{name} status.py"))
        for name in ("python3", "/opt/sandbox/python3")
    )
    assert served(sandbox) == before + 2
    # A listing has a descriptor of its own.
    assert ours.pop("fds") == client.pop("fds") == plain.pop("fds") == ["0", "1", "2", "3"]
    # Bash adds some of its own.
    for found in (client, plain):
        for name in ("variables", "environ"):
            found[name] = sorted(
                {*found[name]} - {"SHLVL", "_", "OLDPWD", "PYTHONPATH", "NODE_PATH"}
            )
    assert client == plain
    ours["variables"] = sorted(ours["variables"])
    assert ours == {**plain, "SigIgn": ours["SigIgn"]}
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(ours[name][0], 16) == 0
    assert ours["Uid"] == [str(SANDBOX_UID)] * 4
    assert (ours["oom"], ours["NoNewPrivs"], ours["Seccomp"]) == ("1000\n", ["1"], ["2"])
    assert not [name for name in ours["variables"] if name.startswith("SANDBOX")]
    sandbox.remove(["status.py"])


def test_no_descriptor_comes_along_but_those_that_bash_has_passed(sandbox: Sandbox) -> None:
    code = r"""
exec 7</dev/zero 9>/tmp/nine
python3 -c '
import os
for number in range(os.sysconf("SC_OPEN_MAX")):
    try: print(number, os.readlink(f"/proc/self/fd/{number}").partition(":")[0])
    except FileNotFoundError: pass
'
rm /tmp/nine
"""
    listed = dict(line.split() for line in sandbox.bash(code).splitlines())
    assert listed.pop("0") in ("pipe", "/dev/null")
    assert listed == {"1": "pipe", "2": "pipe", "7": "/dev/zero", "9": "/tmp/nine"}


def test_nor_does_a_child_see_more_of_it(sandbox: Sandbox) -> None:
    """What is inherited through fork and exec from a program that the zygote has made."""
    code = """
import subprocess, os
print(subprocess.run(["ls", "/proc/self/fd"], close_fds=False, capture_output=True).stdout)
pid = os.fork()
if pid == 0:
    print(len(os.listdir("/proc/self/fd")), "SANDBOX_ZYGOTE" in os.environ, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
"""
    lines = sandbox.output(code).splitlines()
    assert lines[1] == "4 False"
    assert lines[0].startswith(r"b'0\n1\n2\n3\n")


# --- planting ---

# Says who runs it, as soon as anybody does.
TRAP = """
import os as _os
with open("/tmp/trapped", "a") as _file:
    _file.write(f"{_os.getuid()} {__name__}\\\\n")
"""
PLANT = f"""
import os
trap = '''{TRAP}'''
home = "/mnt/data"
user = home + "/.local/lib/python3.11/site-packages"
cache = "/tmp/.cache/matplotlib"
for directory in (user, home + "/.config/matplotlib", home + "/.matplotlib", cache,
                  "/tmp/.cache/fontconfig", "/tmp/numpy", "/dev/shm/x"):
    os.makedirs(directory, exist_ok=True)
names = ("sitecustomize", "usercustomize", "json", "numpy", "pandas", "matplotlib", "random", "os",
         "runner", "re", "encodings", "site", "_launch")
for directory in (home, user, "/tmp", "/dev/shm", cache):
    for name in names:
        with open(f"{{directory}}/{{name}}.py", "w") as file: file.write(trap)
with open(user + "/trap.pth", "w") as file:
    file.write('import sys; exec(open("/tmp/os.py").read())\\n')
for path in (home + "/matplotlibrc", home + "/.config/matplotlib/matplotlibrc",
             home + "/.matplotlib/matplotlibrc", cache + "/matplotlibrc"):
    with open(path, "w") as file: file.write("lines.linewidth: 77\\n")
with open(home + "/pyvenv.cfg", "w") as file: file.write("home = /tmp\\n")
for name in os.listdir(cache):
    if name.startswith("fontlist"):
        with open(f"{{cache}}/{{name}}", "w") as file: file.write("not json")
with open(cache + "/fontlist-v330.json", "w") as file: file.write("{{}}")
with open(home + "/.bashrc", "w") as file: file.write("touch /tmp/trapped\\n")
os.environ |= {{"PYTHONSTARTUP": "/tmp/os.py", "PYTHONPATH": "/tmp", "PYTHONHOME": "/tmp"}}
print("planted")
"""
CLEAN = "cd /; rm -rf /mnt/data/* /mnt/data/.[a-z]* /tmp/[a-z]* /dev/shm/* /tmp/.cache"


def test_what_a_program_has_planted_does_not_reach_the_next_zygote() -> None:
    """Its start is that of an interpreter, with the rights to become anybody."""
    with hot_sandbox() as sandbox:
        inside = Inside(sandbox)
        before = inside.own().zygote.pid
        assert sandbox.output(PLANT) == "planted\n"
        inside.kill(before)
        get_hot(sandbox)
        after = inside.own().zygote.pid
        assert after != before
        listing = "ls -l /tmp/trapped 2>/dev/null; cat /tmp/trapped 2>/dev/null; true"
        # The helpers of PID 1 have run as well.
        sandbox.collect()
        assert inside.execute("/bin/sh", "-c", listing) == ""
        # And before a program's own code, no more happens than with a plain interpreter: its own
        # directory comes first, and that is where the traps are.
        program = "import sys; print(len(sys.argv), sys.flags.safe_path)"
        outputs = {}
        for name in (PLAIN, "python3"):
            sandbox.bash("rm -f /tmp/trapped")
            result = sandbox.run(f"cd /mnt/data; ({name} -c '{program}')", language="bash")
            trapped = sandbox.run("cat /tmp/trapped", language="bash").stdout
            outputs[name] = (result.stdout, result.stderr, result.exit_code, trapped)
        assert outputs["python3"] == outputs[PLAIN]
        assert b"10002" not in outputs["python3"][3]
        # Once it is all gone, nothing of it is left in the zygote.
        sandbox.bash(CLEAN)
        code = """
import json, numpy, pandas, matplotlib, random
import matplotlib.pyplot as plt
print(matplotlib.rcParams["lines.linewidth"], json.__file__, len(plt.plot([1, 2])))
import matplotlib.font_manager as fonts
print(len(fonts.fontManager.ttflist) > 10)
"""
        assert sandbox.output(code).splitlines() == [
            "1.5 /usr/lib/python3.11/json/__init__.py 1",
            "True",
        ]
        assert is_well(sandbox)
        assert inside.own().zygote.pid == after
