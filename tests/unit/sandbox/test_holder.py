"""image/python/holder.c: a process that keeps another one's memory and can do nothing else."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import resource
import signal
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.native import built, in_child

PR_SET_NO_NEW_PRIVS = 38
ANSWER = struct.Struct("=iQ")
MB = 1024 * 1024


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return built("holder.c", tmp_path_factory.mktemp("holder"))


def held(library: ctypes.CDLL, tell: int, content: bytes = b"") -> None:
    buffer = ctypes.create_string_buffer(content)
    os.write(tell, ANSWER.pack(library.hold_memory(os.getppid()), ctypes.addressof(buffer)))


def answer_of_child(work: Callable[[int], object]) -> tuple[int, int]:
    """The holder's number, and where in its memory the content is."""
    number, address = ANSWER.unpack(in_child(work))
    return number, address


def refuse_new_rights() -> None:
    """As everything in a container does. Who could be given some may not be confined."""
    ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


@pytest.fixture
def holder(library: ctypes.CDLL) -> Iterator[tuple[int, int]]:
    """Of a process that has ended."""

    def work(tell: int) -> None:
        refuse_new_rights()
        held(library, tell, b"kept" + b"x" * (20 * MB))

    number, address = answer_of_child(work)
    assert number > 0
    yield number, address
    try:
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def fields(process: str) -> dict[str, str]:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def waiting_thread(holder: int) -> str:
    tasks = (task.name for task in Path(f"/proc/{holder}/task").iterdir())
    (thread,) = (name for name in tasks if int(name) != holder)
    return f"{holder}/task/{thread}"


def test_the_memory_is_there_after_the_process_and_until_the_holder_is_killed(
    holder: tuple[int, int],
) -> None:
    number, address = holder
    thread = waiting_thread(number)
    assert int(fields(thread)["VmRSS"].split()[0]) > 20 * 1024
    with Path(f"/proc/{thread}/mem").open("rb") as memory:
        memory.seek(address)
        assert memory.read(6) == b"keptxx"
    os.kill(number, signal.SIGKILL)
    assert os.waitpid(number, 0) == (number, signal.SIGKILL)


def test_it_has_no_rights_and_nothing_open_and_may_ask_for_nothing(
    holder: tuple[int, int],
) -> None:
    thread = waiting_thread(holder[0])
    status = fields(thread)
    for name in ("CapInh", "CapPrm", "CapEff"):
        assert int(status[name], 16) == 0
    assert status["Seccomp"] == "2"
    assert list(Path(f"/proc/{thread}/fd").iterdir()) == []
    # All but the two that cannot be.
    blocked = int(status["SigBlk"], 16)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        assert blocked & 1 << number - 1, number
    # Woken up it waits again, which is all that it may.
    os.kill(holder[0], signal.SIGSTOP)
    os.kill(holder[0], signal.SIGCONT)
    time.sleep(0.05)
    assert fields(thread)["State"].startswith("S")


def test_to_those_who_list_processes_it_is_a_zombie(holder: tuple[int, int]) -> None:
    number = holder[0]
    assert fields(str(number))["State"].startswith("Z")
    assert Path(f"/proc/{number}/cmdline").read_bytes() == b""
    assert "VmRSS" not in fields(str(number))


def lives(holder: int) -> bool:
    """In its second thread; the first is a zombie from the start."""
    try:
        return fields(str(holder))["Threads"] != "1"
    except (FileNotFoundError, ProcessLookupError):
        return False


def take_over(path: Path) -> Callable[[], bytes]:
    """The holder's next instruction is the system call in libc's function of that name. There, in
    memory that it shares with this process, put a jump to code that says that it was here, which is
    returned, and then makes a file."""
    libc = ctypes.CDLL(None)
    function = ctypes.cast(libc.syscall, ctypes.c_void_p).value
    assert function
    instruction = function + ctypes.string_at(function, 64).index(b"\x0f\x05")
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    was_here, name = start + 2048, start + 3072
    encoded = os.fsencode(path) + b"\0"
    memory[3072 : 3072 + len(encoded)] = encoded
    code = b"\x48\xb8" + struct.pack("<Q", was_here) + b"\xc6\x00\x01"
    code += b"\xb8\x02\x00\x00\x00\x48\xbf" + struct.pack("<Q", name)
    code += b"\xbe\x41\x00\x00\x00\xba\xb6\x01\x00\x00\x0f\x05\xeb\xfe"
    memory[: len(code)] = code
    jump = b"\xff\x25\x00\x00\x00\x00" + struct.pack("<Q", start)
    page = instruction & ~4095
    assert libc.mprotect(ctypes.c_void_p(page), 8192, 7) == 0
    ctypes.memmove(instruction, jump, len(jump))
    return lambda: memory[2048:2049]


@pytest.mark.skipif(
    platform.machine() != "x86_64", reason="NOT tested, it is written in this processor's code"
)
def test_a_process_that_takes_it_over_has_gained_nothing(
    library: ctypes.CDLL, tmp_path: Path
) -> None:
    (told, tell), (is_gone, say_gone) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            refuse_new_rights()
            number = library.hold_memory(os.getppid())
            was_here = take_over(tmp_path / "taken-over")
            os.write(tell, ANSWER.pack(number, 0))
            os.read(is_gone, 1)
            os.write(tell, was_here())
        finally:
            os._exit(0)
    os.close(tell)
    number, _ = ANSWER.unpack(os.read(told, ANSWER.size))
    assert number > 0
    # No program can do that to it; a host can, when it stops a container for a moment.
    os.kill(number, signal.SIGSTOP)
    os.kill(number, signal.SIGCONT)
    # Its first call to the kernel was its end.
    assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == -signal.SIGSYS
    os.write(say_gone, b"x")
    assert os.read(told, 1) == b"\1"
    assert not (tmp_path / "taken-over").exists()
    os.waitpid(pid, 0)
    for end in (told, is_gone, say_gone):
        os.close(end)


def test_it_goes_with_its_parent(library: ctypes.CDLL) -> None:
    def parent(tell: int) -> None:
        refuse_new_rights()
        os.write(tell, in_child(lambda tell: held(library, tell)))

    holder, _ = answer_of_child(parent)
    assert holder > 0
    deadline = time.monotonic() + 10
    while lives(holder):
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.01)


def test_there_is_none_for_an_orphan(library: ctypes.CDLL) -> None:
    def work(tell: int) -> None:
        refuse_new_rights()
        # The parent that it has by now is another one.
        os.write(tell, ANSWER.pack(library.hold_memory(os.getppid() + 1), 0))

    assert answer_of_child(work)[0] == 0


def test_where_it_cannot_be_confined_there_is_none(library: ctypes.CDLL) -> None:
    if fields("self")["NoNewPrivs"] != "0":
        pytest.skip(
            "NOT tested: nothing here can get new rights, so that everything can be confined"
        )
    holder, _ = answer_of_child(lambda tell: held(library, tell))
    assert holder == 0


@pytest.mark.parametrize("processes", [1, 2])
def test_where_there_can_be_no_more_processes_there_is_none(
    library: ctypes.CDLL, processes: int
) -> None:
    """Neither its first thread, nor its second."""
    if os.getuid():
        pytest.skip("NOT tested, only root can become somebody with a limit of processes")

    def work(tell: int) -> None:
        refuse_new_rights()
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
        os.setuid(54321)
        held(library, tell)

    assert answer_of_child(work)[0] == 0
