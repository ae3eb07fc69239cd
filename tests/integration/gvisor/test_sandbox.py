"""A container under gVisor: the core of the contract, and what is enforced in another way there.

Everything else is tried with `SANDBOX_RUNTIME=runsc script/test tests/contract` and with
`script/attack`, on an engine that has it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.confinement import Confinement, confinement
from sandbox.engines.docker import DockerEngine
from sandbox.errors import ContainerLost
from tests.containers import MB, Sandbox, started
from tests.contract import test_engine, test_files, test_resetting, test_running
from tests.engines import PrivateEngine
from tests.integration import test_confinement
from tests.integration.gvisor.conftest import CPUS, RUNTIME

HOT_SECONDS = 60.0

# The core of the contract.
test_stray_data = test_engine.test_data_that_nobody_announced_is_skipped
test_mappings = test_files.test_a_change_through_a_mapping_is_found
test_closed_directories = test_files.test_directories_that_their_owner_closed_are_opened
test_removal = test_files.test_files_and_the_directories_they_leave_empty_are_removed
test_arrival = test_files.test_files_arrive_as_they_are
test_modes = test_files.test_modes_say_what_may_be_executed_and_written
test_output_files = test_files.test_only_regular_files_are_output
test_known_files = test_files.test_only_what_is_not_known_is_sent
test_replacement = test_files.test_what_has_a_files_name_is_replaced
test_reset = test_resetting.test_nothing_is_left_of_what_was_there
test_arguments = test_running.test_a_program_prints_its_arguments
test_signals = test_running.test_a_program_that_dies_of_a_signal_has_no_exit_code
test_tracebacks = test_running.test_a_traceback_shows_the_source_line_and_its_file
test_cancelling = test_running.test_an_abandoned_program_is_cancelled
test_processor_time = test_running.test_processor_time_is_limited_on_its_own

# Enforced in the same way as without it.
test_full_directories = test_confinement.test_a_full_directory_is_an_error_of_the_program_alone


@pytest.fixture(scope="module")
def engine(private: PrivateEngine) -> Iterator[DockerEngine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", private.host)
        # It reads that once.
        yield DockerEngine()


def under_gvisor() -> Confinement:
    # What gVisor itself needs counts as well: where that and full directories come to more than the
    # limit, the kernel takes the container.
    return replace(confinement(), runtime=RUNTIME, cpus=CPUS, memory_bytes=1024 * MB)


@pytest.fixture(scope="module")
def shared(engine: DockerEngine) -> Iterator[Sandbox]:
    with started(engine, under_gvisor()) as sandbox:
        with sandbox.attach() as channel:
            assert channel.hello(timeout=10, hot_within=HOT_SECONDS).hot
        yield sandbox


@pytest.fixture
def sandbox(shared: Sandbox) -> Sandbox:
    """As good as new: to start one for each test takes too long."""
    with shared.attach() as channel:
        channel.reset()
    return shared


def goes_on(sandbox: Sandbox) -> bool:
    return sandbox.output("print(1)") == "1\n"


def test_its_kernel_is_not_the_hosts(sandbox: Sandbox) -> None:
    assert sandbox.bash("uname -r").strip() != os.uname().release


def test_a_program_is_nobody_and_may_nothing(sandbox: Sandbox) -> None:
    lines = sandbox.bash("cat /proc/self/status").splitlines()
    status = {key: value.split() for key, _, value in (line.partition(":") for line in lines)}
    assert status["Uid"] == status["Gid"] == ["10001"] * 4
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd"):
        assert int(status[capabilities][0], 16) == 0


def test_the_preloaded_interpreter_runs_programs_and_what_a_shell_calls(sandbox: Sandbox) -> None:
    def served() -> int:
        with sandbox.attach() as channel:
            return channel.hello(timeout=10, hot_within=HOT_SECONDS).served

    before = served()
    assert goes_on(sandbox)
    assert sandbox.bash("python3 - <<<'print(2)'; echo 'print(3)' | python3") == "2\n3\n"
    assert served() == before + 3


def test_programs_have_threads(sandbox: Sandbox) -> None:
    """Which C libraries start by a call that the filter does not let through."""
    code = """
import threading
threads = [threading.Thread(target=print, args=[number]) for number in range(3)]
for thread in threads:
    thread.start()
    thread.join()
"""
    assert sandbox.output(code) == "0\n1\n2\n"
    assert sandbox.output("console.log(6 * 7)", "js") == "42\n"


def test_output_can_be_reopened_by_name(sandbox: Sandbox) -> None:
    result = sandbox.run("echo a > /dev/stdout; echo b > /dev/stderr", language="bash")
    assert (result.stdout, result.stderr) == (b"a\n", b"b\n")


def test_there_is_no_way_out(sandbox: Sandbox) -> None:
    code = """
import socket
for family, address in ((socket.AF_INET, "1.1.1.1"), (socket.AF_INET6, "2606:4700:4700::1111")):
    try:
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.settimeout(3)
            s.connect((address, 80))
            print("out")
    except OSError as error:
        print(type(error).__name__)
"""
    assert set(sandbox.output(code).split()) <= {"OSError", "PermissionError"}


def test_nobody_gets_what_would_outlive_the_processes(sandbox: Sandbox) -> None:
    code = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
for make in (lambda: libc.shmget(0, 4096, 0o1600), lambda: libc.semget(0, 1, 0o1600),
             lambda: libc.msgget(0, 0o1600)):
    print(make(), errno.errorcode[ctypes.get_errno()])
"""
    assert sandbox.output(code) == "-1 ENOSYS\n" * 3


def test_links_to_directories_are_not_followed(sandbox: Sandbox) -> None:
    """To open one that must be no link is not refused there."""
    sandbox.bash("mkdir real; echo kept > real/file; ln -s real linked; ln -s /opt/sandbox out")
    sandbox.remove(["linked/file", "out/python3"])
    assert sandbox.files() == {"real/file": b"kept\n"}


def test_the_root_is_read_only(sandbox: Sandbox) -> None:
    result = sandbox.run("touch /etc/x /opt/sandbox/x /run/code/x /x", language="bash")
    assert result.exit_code == 1
    assert sandbox.bash("find /etc/x /opt/sandbox/x /run/code/x /x 2>/dev/null; true") == ""


def test_an_endless_program_is_ended_with_what_it_has_printed(sandbox: Sandbox) -> None:
    code = "trap '' TERM; echo begun; while :; do :; done"
    result = sandbox.run(code, language="bash", wall_seconds=5)
    assert (result.reason, result.exit_code, result.signal) == ("timeout", None, "SIGKILL")
    assert result.stdout == b"begun\n"
    assert goes_on(sandbox)


def test_a_bomb_is_kept_small_and_cleared_away(engine: DockerEngine) -> None:
    """The kernel in there counts by itself; the host's would take the whole container."""
    with started(engine, replace(under_gvisor(), pids=20)) as sandbox:
        bomb = "for i in $(seq 50); do sleep 600 & done"
        result = sandbox.run(bomb, language="bash", wall_seconds=8)
        assert b"Resource temporarily unavailable" in result.stderr
        assert sandbox.bash("cat /proc/[0-9]*/comm | grep -c sleep; true") == "0\n"


@pytest.mark.parametrize(
    "leave",
    [
        "nohup sleep 600 >/dev/null 2>&1 & disown",
        "(setsid sh -c 'trap \"\" TERM HUP INT; sleep 600 & sleep 600 & wait' &) >/dev/null 2>&1",
        "sleep 600 & kill -STOP $!",
    ],
)
def test_nothing_stays_behind(sandbox: Sandbox, leave: str) -> None:
    result = sandbox.run(leave, language="bash")
    assert (result.exit_code, result.reason) == (0, "exit")
    assert sandbox.bash("cat /proc/[0-9]*/comm | grep -c sleep; true") == "0\n"


def test_its_share_of_the_cpus_is_the_hosts_limit(private: PrivateEngine, shared: Sandbox) -> None:
    """In there it does not show."""
    inspect = ["docker", "-H", private.host, "inspect", "-f", "{{.State.Pid}}", shared.name]
    pid = subprocess.run(inspect, capture_output=True, text=True, check=True).stdout.strip()
    quota, period = cpu_limit(int(pid))
    assert quota / period == CPUS


def cpu_limit(pid: int) -> tuple[int, int]:
    """In cgroups of either version."""
    root, unified = Path("/sys/fs/cgroup"), ""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(","):
            place = root / controllers / path.removeprefix("/")
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            quota, period = ((place / name).read_text() for name in names)
            return int(quota), int(period)
        unified = unified or path
    quota, period = (root / unified.removeprefix("/") / "cpu.max").read_text().split()
    return int(quota), int(period)


def test_too_much_memory_takes_the_container_and_the_engine_says_so(engine: DockerEngine) -> None:
    with started(engine, under_gvisor()) as sandbox:
        with pytest.raises(ContainerLost):
            sandbox.run("x = bytearray(2**30)\nfor i in range(0, 2**30, 4096): x[i] = 1")
        death = engine.death(sandbox.name)
        assert death is not None
        assert death.oom_killed
