"""What a hostile program can do, tried out in a real container."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict, replace
from pathlib import Path

import docker
import pytest
from django.conf import settings

from sandbox.confinement import MASKED_PATHS, confinement
from sandbox.engines.base import Death, Engine
from sandbox.engines.docker import DockerEngine
from sandbox.errors import ContainerLost, EngineUnavailable, ImageMissing, WorkspaceFull
from sandbox.runner.privileges import HELPER_UID
from sandbox.runner.protocol import DATA, VERSION
from tests.containers import MB, Sandbox, docker_engine, put_file, run_limits, started

GB = 1024 * MB


@pytest.fixture(scope="module")
def engine() -> Engine:
    return docker_engine()


@pytest.fixture
def sandbox(engine: Engine) -> Iterator[Sandbox]:
    with started(engine) as sandbox:
        yield sandbox


def goes_on(sandbox: Sandbox) -> bool:
    """The container still does its work, and nothing of former programs is there."""
    code = """
import os
uids = []
for name in os.listdir("/proc"):
    if name.isdecimal():
        status = dict(line.split(":", 1) for line in open(f"/proc/{name}/status"))
        uids.append(int(status["Uid"].split()[0]))
print(sorted(uids))
"""
    # Beside the program itself there are the runner, a helper, the zygote (root's as well, while it
    # starts) and its spare.
    uids: list[int] = json.loads(sandbox.output(code))
    return uids.count(10001) == 1 and uids.count(0) <= 2 and set(uids) <= {0, 10001, 10002, 10003}


def test_a_program_is_nobody_and_may_nothing(sandbox: Sandbox) -> None:
    lines = sandbox.bash("cat /proc/self/status").splitlines()
    status = {key: value.split() for key, _, value in (line.partition(":") for line in lines)}
    assert status["Uid"] == status["Gid"] == ["10001"] * 4
    assert status["Groups"] in ([], ["10001"])
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[capabilities][0], 16) == 0
    assert status["NoNewPrivs"] == ["1"]
    assert status["Seccomp"] == ["2"]


def test_a_program_holds_no_descriptor_but_the_three(sandbox: Sandbox) -> None:
    code = """
import json, os
held = {}
for number in range(os.sysconf('SC_OPEN_MAX')):
    try: held[number] = os.readlink(f'/proc/self/fd/{number}').partition(':')[0]
    except FileNotFoundError: pass
print(json.dumps(held))
"""
    assert json.loads(sandbox.output(code)) == {"0": "/dev/null", "1": "pipe", "2": "pipe"}


def test_nothing_but_its_own_directories_can_be_written(sandbox: Sandbox) -> None:
    code = """
import os
mounts = [line.split()[1] for line in open('/proc/mounts')]
places = {place for mount in mounts for place, *_ in os.walk(mount)}
places = {place for place in places if not place.startswith('/proc/')}
written = set()
for place in sorted(places | {'/', '/etc', '/opt/sandbox/runner'}):
    try:
        os.close(os.open(place + '/probe', os.O_CREAT | os.O_WRONLY))
        os.unlink(place + '/probe')
        written.add(place)
    except OSError:
        pass
print(sorted(w for w in written if not w.startswith('/tmp/.cache')))
"""
    assert sandbox.output(code) == "['/dev/shm', '/mnt/data', '/tmp']\n"


def test_a_program_cannot_change_its_source_where_it_is_kept(sandbox: Sandbox) -> None:
    result = sandbox.run("echo x >> $0; rm -f $0; touch /run/code/x", language="bash")
    assert result.stderr.count(b"Permission denied") + result.stderr.count(b"Read-only") == 3


@pytest.mark.parametrize("place", ["/mnt/data", "/tmp", "/dev/shm"])
def test_mounts_give_no_privileges(sandbox: Sandbox, place: str) -> None:
    (line,) = sandbox.bash(f"grep ' {place} ' /proc/mounts").splitlines()
    options = line.split()[3].split(",")
    assert {"nosuid", "nodev"} <= set(options)
    assert ("noexec" in options) == (place == "/dev/shm")


@pytest.mark.parametrize(
    ("family", "kind", "address"),
    [
        ("AF_INET", "SOCK_STREAM", ("1.1.1.1", 80)),
        ("AF_INET", "SOCK_STREAM", ("169.254.169.254", 80)),
        ("AF_INET", "SOCK_STREAM", ("172.17.0.1", 22)),
        ("AF_INET", "SOCK_DGRAM", ("1.1.1.1", 53)),
        ("AF_INET6", "SOCK_STREAM", ("2606:4700:4700::1111", 80)),
        ("AF_INET6", "SOCK_DGRAM", ("ff02::1", 53)),
        ("AF_PACKET", "SOCK_RAW", ("lo", 0)),
        ("AF_INET", "SOCK_RAW", ("127.0.0.1", 0)),
    ],
)
def test_there_is_no_way_out(
    sandbox: Sandbox, family: str, kind: str, address: tuple[str, int]
) -> None:
    code = f"""
import socket
try:
    with socket.socket(socket.{family}, socket.{kind}) as s:
        s.settimeout(3)
        s.connect({address})
        s.send(b"x")
        print("out")
except OSError as error:
    print(type(error).__name__)
"""
    assert sandbox.output(code) in ("OSError\n", "PermissionError\n")


def test_there_is_no_network_and_no_name_service(sandbox: Sandbox) -> None:
    assert sandbox.output("import os; print(os.listdir('/sys/class/net'))") == "['lo']\n"
    code = "import socket\ntry: socket.getaddrinfo('example.com', 80)\n"
    assert sandbox.output(code + "except socket.gaierror: print('no')") == "no\n"


@pytest.mark.parametrize("place", ["/mnt/data", "/tmp", "/dev/shm"])
def test_a_full_directory_is_an_error_of_the_program_alone(sandbox: Sandbox, place: str) -> None:
    result = sandbox.run(f"head -c 1G /dev/zero > {place}/full", language="bash")
    assert (result.exit_code, result.oom_kills) == (1, 0)
    assert b"No space left on device" in result.stderr
    assert goes_on(sandbox)


@pytest.mark.parametrize("place", ["/mnt/data", "/tmp", "/dev/shm"])
def test_so_is_one_with_too_many_files(sandbox: Sandbox, place: str) -> None:
    code = f"""
import errno, os
os.makedirs('{place}/d')
try:
    for i in range(100_000): os.close(os.open(f'{place}/d/{{i}}', os.O_CREAT))
except OSError as error:
    print(errno.errorcode[error.errno], i < {settings.SANDBOX_INODES})
"""
    assert sandbox.output(code) == "ENOSPC True\n"
    assert goes_on(sandbox)
    with sandbox.attach() as channel:
        channel.remove(["none"])
    if place == "/mnt/data":
        collection, _ = sandbox.collect(max_files=10)
        assert len(collection.entries) == 10


def test_files_that_do_not_fit_are_refused_and_the_container_goes_on(sandbox: Sandbox) -> None:
    too_large = b"x" * (settings.SANDBOX_WORKSPACE_MB + 1) * MB
    with sandbox.attach() as channel:
        with pytest.raises(WorkspaceFull, match=r"dir/too large\.bin"):
            channel.put([put_file("dir/too large.bin", too_large), put_file("small", b"small")])
        channel.put([put_file("next", b"next")])
    assert sandbox.files() == {"small": b"small", "next": b"next"}


def test_a_program_of_which_there_is_no_copy_still_runs(sandbox: Sandbox) -> None:
    sandbox.put({"helper.py": b"answer = 42"})
    sandbox.run("head -c 1G /dev/zero > full", language="bash")
    assert sandbox.output("import helper; print(helper.answer, __file__)") == (
        "42 /run/code/main.py\n"
    )


def test_too_much_memory_ends_the_program_alone(sandbox: Sandbox) -> None:
    result = sandbox.run("print('begun', flush=True)\nx = bytearray(2**30)")
    assert (result.signal, result.reason, result.stdout) == ("SIGKILL", "exit", b"begun\n")
    assert result.oom_kills == 1
    assert goes_on(sandbox)
    assert sandbox.run("print(1)").oom_kills == 0


def test_a_program_that_wants_to_be_spared_takes_nobody_with_it(sandbox: Sandbox) -> None:
    code = """
import os
open('/proc/self/oom_score_adj', 'w').write('0')
for _ in range(30):
    if os.fork() == 0: break
x = []
while True: x.append(bytearray(2**20))
"""
    assert sandbox.run(code, wall_seconds=5).oom_kills > 0
    assert goes_on(sandbox)


def test_shared_memory_does_not_outlive_its_program(sandbox: Sandbox) -> None:
    code = """
import ctypes
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
segment = libc.shmget(0, 100 * 2**20, 0o1600)
ctypes.memset(libc.shmat(segment, None, 0), 1, 100 * 2**20)
print(segment >= 0, libc.msgget(0, 0o1600))
"""
    assert sandbox.output(code) == "True -1\n"
    assert len(sandbox.bash("cat /proc/sysvipc/shm").splitlines()) == 1


@pytest.mark.parametrize(
    ("language", "bomb"),
    [
        ("bash", ":(){ :|:& };:"),
        ("py", "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"),
        ("py", "import os\nwhile True:\n    if not os.fork(): os._exit(0)"),
        (
            "py",
            "import threading, time\nwhile True:\n"
            "    try: threading.Thread(target=time.sleep, args=[99]).start()\n"
            "    except RuntimeError: pass",
        ),
        # Each process lives just long enough to be replaced by one that is not its child.
        (
            "py",
            "import os\nwhile True:\n    try:\n        if os.fork(): os._exit(0)\n"
            "        os.setsid()\n    except OSError: pass",
        ),
    ],
    ids=["shell", "forks", "zombies", "threads", "chain"],
)
def test_a_bomb_is_cleared_away(sandbox: Sandbox, language: str, bomb: str) -> None:
    began = time.monotonic()
    result = sandbox.run(bomb, language=language, wall_seconds=2)
    assert result.reason in ("timeout", "exit")
    assert time.monotonic() - began < 10
    assert goes_on(sandbox)


@pytest.mark.parametrize(
    "leave",
    [
        "nohup sleep 600 >/dev/null 2>&1 & disown",
        "setsid sleep 600 >/dev/null 2>&1 &",
        "(setsid sh -c 'trap \"\" TERM HUP INT; sleep 600 & sleep 600 & wait' &) >/dev/null 2>&1",
        "sleep 600 & kill -STOP $!",
        "sleep 600 & exec 1>&- 2>&-",
    ],
)
def test_nothing_stays_behind(sandbox: Sandbox, leave: str) -> None:
    began = time.monotonic()
    result = sandbox.run(leave, language="bash")
    assert (result.exit_code, result.reason) == (0, "exit")
    assert time.monotonic() - began < 5
    assert goes_on(sandbox)


def test_orphans_are_reaped_while_the_program_runs(sandbox: Sandbox) -> None:
    """Otherwise their remains would use up the number of processes."""
    code = "for i in $(seq 600); do (sleep 0.01 &) ; done; sleep 0.3; echo done"
    assert sandbox.bash(code) == "done\n"


FIND_HELPER = f"""
pids = [pid for pid in os.listdir('/proc') if pid.isdecimal()]
[pid] = [pid for pid in pids if '\\nUid:\\t{HELPER_UID}\\t' in open(f'/proc/{{pid}}/status').read()]
"""


@pytest.mark.parametrize("find", ["pid = 1", FIND_HELPER], ids=["runner", "helper"])
def test_the_runner_is_out_of_reach(sandbox: Sandbox, find: str) -> None:
    if find == FIND_HELPER:
        waiting_helper(sandbox)
    code = f"import os\n{find}\npid = int(pid)"
    code += """
import ctypes, signal
for number in signal.valid_signals():
    try: os.kill(pid, number); print('killed', number)
    except PermissionError: pass
for name in ('environ', 'mem', 'maps', 'auxv', 'stack', 'syscall', 'io', 'pagemap'):
    try: open(f'/proc/{pid}/{name}').read(1); print('read', name)
    except PermissionError: pass
for name in ('fd', 'fdinfo', 'map_files'):
    try: print('listed', os.listdir(f'/proc/{pid}/{name}'))
    except PermissionError: pass
for name in ('cwd', 'root', 'exe', 'fd/0', 'fd/1', 'ns/mnt'):
    try: print('followed', os.readlink(f'/proc/{pid}/{name}'))
    except PermissionError: pass
for name in ('oom_score_adj', 'mem', 'comm', 'fd/1'):
    try: open(f'/proc/{pid}/{name}', 'w'); print('opened', name)
    except PermissionError: pass
libc = ctypes.CDLL(None, use_errno=True)
print(libc.ptrace(16, pid, 0, 0), libc.prlimit(pid, 7, None, ctypes.create_string_buffer(16)))
print(libc.syscall(434, pid, 0) >= 0 and libc.syscall(438, libc.syscall(434, pid, 0), 0, 0))
"""
    assert sandbox.output(code).splitlines() == ["-1 -1", "-1"]


def test_a_helper_that_died_while_it_waited_is_missed_by_nobody(sandbox: Sandbox) -> None:
    for use in (sandbox.files, lambda: sandbox.put({"a.txt": b"one"}), sandbox.files):
        sandbox.output("print(1)")
        os.kill(waiting_helper(sandbox), signal.SIGKILL)
        use()
    assert sandbox.files() == {"a.txt": b"one"}


def waiting_helper(sandbox: Sandbox) -> int:
    """Its pid, as the host knows it."""
    client = docker.from_env()
    deadline = time.monotonic() + 10
    try:
        while time.monotonic() < deadline:
            processes = client.api.top(sandbox.name, ps_args="-eo pid,uid,stat")["Processes"]
            for pid, uid, state in processes:
                if int(uid) == HELPER_UID and not state.startswith("Z"):
                    return int(pid)
    finally:
        client.close()
    raise AssertionError("no helper waits")


def test_output_can_be_reopened_by_name(sandbox: Sandbox) -> None:
    result = sandbox.run(
        "echo a > /dev/stdout; echo b | tee /dev/stderr; echo c > /proc/self/fd/2", language="bash"
    )
    assert (result.stdout, result.stderr) == (b"a\nb\n", b"b\nc\n")


def test_processes_can_work_together(sandbox: Sandbox) -> None:
    code = """
from multiprocessing import Pool, Queue
from multiprocessing.shared_memory import SharedMemory
if __name__ == '__main__':
    with Pool(3) as pool: print(pool.map(abs, [-1, -2, -3]))
    memory = SharedMemory(create=True, size=1000)
    memory.buf[0] = 7; print(memory.buf[0]); memory.close(); memory.unlink()
    queue = Queue(); queue.put(5); print(queue.get())
"""
    assert sandbox.output(code) == "[1, 2, 3]\n7\n5\n"


def test_a_gigabyte_of_output_is_cut_and_leaves_nothing_on_the_host(sandbox: Sandbox) -> None:
    result = sandbox.run("head -c 1G /dev/zero", language="bash", wall_seconds=60)
    assert (result.exit_code, result.stdout_bytes) == (0, GB)
    assert result.stdout == bytes(MB)
    client = docker.from_env()
    inspected = client.api.inspect_container(sandbox.name)
    client.close()
    assert inspected["HostConfig"]["LogConfig"]["Type"] == "none"
    assert inspected["LogPath"] == ""


def test_a_client_that_does_not_read_costs_no_memory_and_holds_nobody_up_for_long(
    engine: Engine, sandbox: Sandbox
) -> None:
    code = b"yes"
    limits = asdict(run_limits(wall_seconds=60, output_bytes=10 * GB))
    flood = {"verb": "run", "language": "bash", "code_bytes": len(code), "args": [], **limits}
    with closing(sandbox.wire()) as wire:
        wire.open_request(flood, seconds=60)
        wire.send(DATA, code)
        time.sleep(3)
        client = docker.from_env()
        processes = client.api.top(sandbox.name, ps_args="-eo pid,rss,uid,args")["Processes"]
        client.close()
        # What it forks has its name and its user at first.
        runner = next(
            int(rss)
            for _, rss, uid, args in processes
            if uid == "0" and "/opt/sandbox/runner" in args
        )
        assert any(args == "yes" for *_, args in processes)
        assert runner < 40_000
        began = time.monotonic()
        # The engine waits until it has delivered the output, we do not.
        with suppress(EngineUnavailable):
            DockerEngine(call_seconds=3).remove(sandbox.name)
        assert time.monotonic() - began < 6
    engine.remove(sandbox.name)
    deadline = time.monotonic() + 20
    while engine.death(sandbox.name) != Death(exit_code=None):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_two_who_are_attached_do_not_take_each_others_answers(sandbox: Sandbox) -> None:
    """As when a lease was lost and the one who lost it does not know yet."""
    with sandbox.attach() as first, sandbox.attach() as second:
        for channel in (first, second, second, first):
            assert channel.hello(timeout=10).version == VERSION


def test_limits_on_processes_and_files_are_in_force(sandbox: Sandbox) -> None:
    code = "from resource import *; import json\nprint(json.dumps([getrlimit(n) for n in ("
    code += "RLIMIT_NOFILE, RLIMIT_FSIZE, RLIMIT_CORE, RLIMIT_MEMLOCK)]))"
    largest = (settings.SANDBOX_WORKSPACE_MB + 1) * MB
    assert json.loads(sandbox.output(code)) == [
        [settings.SANDBOX_OPEN_FILES] * 2,
        [largest] * 2,
        [1, 1],
        [0, 0],
    ]
    assert sandbox.bash("ulimit -q") == "0\n"
    result = sandbox.run("kill -ABRT $$", language="bash")
    assert result.signal == "SIGABRT"
    assert sandbox.files() == {}


def test_there_is_nothing_to_be_learned_of_the_host(sandbox: Sandbox) -> None:
    assert sandbox.bash("hostname") == "sandbox\n"
    shown = sandbox.bash(f"cat {' '.join(MASKED_PATHS)} 2>/dev/null | wc -c")
    # A file is masked by an empty one, a directory too; not every kernel has each of them.
    listed = sandbox.bash(f"find {' '.join(MASKED_PATHS)} -mindepth 1 2>/dev/null | wc -l")
    assert (shown, listed) == ("0\n", "0\n")


def test_the_cpu_limit_is_the_settings_until_it_is_changed(
    engine: Engine, sandbox: Sandbox
) -> None:
    quota = "cd /sys/fs/cgroup; cat cpu.max 2>/dev/null || cat cpu/cpu.cfs_{quota,period}_us"

    def cpus() -> float:
        used, period = sandbox.bash(quota).split()
        return int(used) / int(period)

    assert cpus() == settings.SANDBOX_CPUS
    engine.limit_cpu(sandbox.name, 1.5)
    assert cpus() == 1.5


def test_a_file_that_nobody_can_read_is_said_to_be_so(sandbox: Sandbox) -> None:
    sandbox.bash("echo x > secret; chmod 0 secret")
    collection, received = sandbox.collect({"secret": "0" * 64})
    assert (received, collection.skipped.reasons) == ({}, {"unreadable": 1})
    assert collection.kept_back == {"secret"}


def test_a_killed_container_is_reported_with_its_exit_code(
    engine: Engine, sandbox: Sandbox
) -> None:
    client = docker.from_env()
    client.api.kill(sandbox.name)
    client.close()
    with pytest.raises(ContainerLost):
        sandbox.run("print(1)")
    death = engine.death(sandbox.name)
    assert death is not None
    assert (death.exit_code, death.oom_killed) == (137, False)


def test_a_missing_image_says_how_to_get_it_and_leaves_nothing(engine: Engine) -> None:
    missing = replace(confinement(), image="there-is-no-such-image:latest")
    before = engine.list()
    with pytest.raises(ImageMissing, match="script/bootstrap"), started(engine, missing):
        pass
    assert engine.list() == before


def test_a_container_that_cannot_start_leaves_nothing(engine: Engine) -> None:
    impossible = replace(confinement(), runtime="there-is-no-such-runtime")
    before = engine.list()
    with pytest.raises(Exception, match="there-is-no-such-runtime"), started(engine, impossible):
        pass
    assert engine.list() == before


def test_there_is_only_the_loopback_and_nobody_on_it(sandbox: Sandbox) -> None:
    assert sandbox.bash("ls /sys/class/net") == "lo\n"
    assert sandbox.bash("tail -qn +2 /proc/net/{route,arp,tcp,tcp6,udp,udp6,raw}") == ""
    devices = {line.split()[-1] for line in sandbox.bash("cat /proc/net/ipv6_route").splitlines()}
    assert devices <= {"lo"}
    # Neither one that somebody outside of the container listens on.
    assert "@" not in sandbox.bash("cat /proc/net/unix")


@pytest.mark.parametrize("namespace", ["cgroup", "ipc", "mnt", "net", "pid", "uts"])
def test_a_container_has_its_own_view_of_the_system(
    engine: Engine, sandbox: Sandbox, namespace: str
) -> None:
    with started(engine) as other:
        views = {
            str(Path(f"/proc/self/ns/{namespace}").readlink()),
            sandbox.bash(f"readlink /proc/self/ns/{namespace}").strip(),
            other.bash(f"readlink /proc/self/ns/{namespace}").strip(),
        }
    assert len(views) == 3


def test_its_mounts_tell_of_nothing_but_the_container(sandbox: Sandbox) -> None:
    """The three files that the engine itself puts into /etc lie where it keeps the container."""
    lines = [line.split() for line in sandbox.bash("cat /proc/self/mountinfo").splitlines()]
    from_host = {where: root for _, _, _, root, where, *_ in lines if where.startswith("/etc/")}
    assert from_host.keys() <= {"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}
    disks = {line[4] for line in lines if line[line.index("-") + 2].startswith("/dev/")}
    assert disks == from_host.keys()
    roots = {root for _, _, _, root, where, *_ in lines if where not in from_host}
    assert roots <= {"/", "/null", "/bus", "/fs", "/irq", "/sys", "/sysrq-trigger"}
    assert {line.split(":")[2] for line in sandbox.bash("cat /proc/self/cgroup").split()} == {"/"}


def test_it_has_no_devices_but_the_usual(sandbox: Sandbox) -> None:
    code = "find /dev -type c -o -type b | grep -v '^/dev/pts/[0-9]' | sort"
    devices = "full null random tty urandom zero"
    expected = {f"/dev/{name}" for name in devices.split()} | {"/dev/pts/ptmx"}
    assert set(sandbox.bash(code).split()) == expected


@pytest.mark.parametrize("language", ["py", "bash", "js"])
def test_a_program_has_a_fixed_list_of_variables(sandbox: Sandbox, language: str) -> None:
    code = {
        "py": "import os; print(*os.environ)",
        "bash": "env | cut -d= -f1 | grep -vx _ | grep -vx SHLVL | grep -vx OLDPWD",
        "js": "console.log(...Object.keys(process.env))",
    }[language]
    expected = """HOME LANG LC_ALL LOGNAME MKL_NUM_THREADS MPLBACKEND MPLCONFIGDIR OMP_NUM_THREADS
        OPENBLAS_NUM_THREADS PATH PWD PYTHONDONTWRITEBYTECODE SHELL TMPDIR USER XDG_CACHE_HOME"""
    assert set(sandbox.output(code, language).split()) == set(expected.split())


@pytest.mark.parametrize("language", ["py", "bash", "js"])
def test_what_it_makes_is_not_for_others_to_write(sandbox: Sandbox, language: str) -> None:
    code = {
        "py": "import os; print(oct(os.umask(0)))",
        "bash": "umask",
        "js": "console.log(process.umask().toString(8))",
    }[language]
    assert int(sandbox.output(code, language).strip().replace("o", ""), 8) == 0o022


def test_a_container_can_have_a_user_of_its_own() -> None:
    """What the kernel counts by user is then not counted with other containers'."""
    engine = docker_engine()
    uid = engine.new_uid()
    code = """
import os, pwd, subprocess
print(os.getresuid(), os.getresgid(), pwd.getpwuid(os.getuid()).pw_name)
print(subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip())
open("a.txt", "w").write("mine"); open("/tmp/b.txt", "w"); open("/dev/shm/c", "w")
print({os.stat(place).st_uid for place in ("a.txt", "/mnt/data", "/tmp", "/dev/shm")})
print(sorted({os.stat(f"/proc/{pid}").st_uid for pid in os.listdir("/proc") if pid.isdigit()}))
"""
    with started(engine, confinement().of_user(uid)) as sandbox:
        with sandbox.attach() as channel:
            assert channel.hello(timeout=60, hot_within=60).hot
        for language in ("py", "bash"):
            program = code if language == "py" else f"python3 - <<'END'\n{code}\nEND\n"
            lines = sandbox.run(program, language=language).stdout.decode().splitlines()
            assert lines[:3] == [f"{(uid,) * 3} {(uid,) * 3} sandbox", "sandbox", f"{{{uid}}}"]
            assert str(uid) in lines[3]
            assert "10001" not in lines[3]
        assert sandbox.files()["a.txt"] == b"mine"
    assert engine.new_uid() != uid
