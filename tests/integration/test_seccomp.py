"""The system calls that a program is refused in a real container."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_django import Settings

from sandbox.confinement import confinement
from sandbox.engines.base import Engine
from tests.containers import Sandbox, docker_engine, started
from tests.syscalls import ENOSYS, EPERM, LEFT_OUT, OTHERWISE_ALLOWED, number

# More than any that there is, whose number is in no profile.
UNKNOWN = 999
HIGH_BIT = 1 << 32
CLONE = {
    "NEWNS": 0x00020000,
    "NEWCGROUP": 0x02000000,
    "NEWUTS": 0x04000000,
    "NEWIPC": 0x08000000,
    "NEWUSER": 0x10000000,
    "NEWPID": 0x20000000,
    "NEWNET": 0x40000000,
}
CALLER = """
import ctypes, errno, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(*(ctypes.c_ulong(each) for each in (number, *arguments)))
    if number == CLONE and result == 0: os._exit(0)
    return errno.errorcode[ctypes.get_errno()] if result == -1 else "done"
CLONE, calls = json.loads(sys.argv[1])
print(json.dumps([call(*each) for each in calls]))
"""
# mov $20, %eax; int $0x80; ret: what getpid is to a program of 32 bits.
GETPID_OF_32_BITS = """
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())
"""
GETPID_OF_X32 = "import ctypes; print(ctypes.CDLL(None).syscall(0x40000000 | 39))"


@pytest.fixture(scope="module")
def engine() -> Engine:
    return docker_engine()


@pytest.fixture(scope="module")
def sandbox(engine: Engine) -> Iterator[Sandbox]:
    with started(engine) as sandbox:
        yield sandbox


def numbered(name: str) -> int:
    found = number(name)
    assert found is not None
    return found


def calls(sandbox: Sandbox, *wanted: tuple[int, ...]) -> list[str]:
    """What a program gets for each: the error's name, or that it is done."""
    result = sandbox.run(CALLER, json.dumps([numbered("clone"), wanted]))
    assert (result.exit_code, result.stderr) == (0, b""), result
    answers: list[str] = json.loads(result.stdout)
    return answers


def test_a_call_that_is_left_out_is_refused(sandbox: Sandbox) -> None:
    known = {name: (found, *LEFT_OUT[name]) for name in LEFT_OUT if (found := number(name))}
    answers = dict(zip(known, calls(sandbox, *known.values()), strict=True))
    assert {name: a for name, a in answers.items() if a not in (EPERM, ENOSYS)} == {}
    assert answers["clone3"] == ENOSYS
    assert {name for name, answer in answers.items() if answer == EPERM} > OTHERWISE_ALLOWED


def test_without_a_profile_these_would_be_allowed(engine: Engine) -> None:
    """So that it is the profile which the test above tests."""
    allow = "SCMP_ACT_ALLOW"
    open_profile = {"defaultAction": allow, "syscalls": [{"names": ["read"], "action": allow}]}
    open_confinement = replace(confinement(), seccomp=json.dumps(open_profile))
    with started(engine, open_confinement) as open_sandbox:
        names = sorted(OTHERWISE_ALLOWED)
        answers = calls(open_sandbox, *((numbered(name), *LEFT_OUT[name]) for name in names))
        refused = {n for n, a in zip(names, answers, strict=True) if a in (EPERM, ENOSYS)}
        assert refused == set()
        netlink, sctp = (numbered("socket"), 16, 3, 0), (numbered("socket"), 2, 1, 132)
        # The latter if the host has it.
        answers = calls(open_sandbox, netlink, sctp)
        assert (answers[0], answers[1] != EPERM) == ("done", True)


def test_a_call_that_nobody_knows_yet_is_not_there(sandbox: Sandbox) -> None:
    """By that, libraries know that they have to do without."""
    assert calls(sandbox, (UNKNOWN,)) == [ENOSYS]


@pytest.mark.parametrize("flag", CLONE)
def test_no_process_gets_namespaces_of_its_own(sandbox: Sandbox, flag: str) -> None:
    clone, sigchld = numbered("clone"), 17
    flags = (CLONE[flag], CLONE[flag] | sigchld, CLONE[flag] | HIGH_BIT, CLONE[flag] | 0x100)
    assert calls(sandbox, *((clone, each, 0, 0, 0, 0) for each in flags)) == [EPERM] * 4
    assert calls(sandbox, (numbered("unshare"), CLONE[flag])) == [EPERM]
    assert calls(sandbox, (clone, sigchld, 0, 0, 0, 0)) == ["done"]


def test_only_the_usual_families_have_sockets(sandbox: Sandbox) -> None:
    socket, pair = numbered("socket"), numbered("socketpair")
    kinds = [(family, kind) for family in range(64) for kind in (1, 2, 3, 5)]
    answers = calls(sandbox, *((socket, family, kind, 0) for family, kind in kinds))
    let_in = {kind for kind, answer in zip(kinds, answers, strict=True) if answer != EPERM}
    unix, inet, inet6 = 1, 2, 10
    assert {family for family, _ in let_in} == {unix, inet, inet6}
    assert {(inet, 1), (inet, 2), (inet6, 1), (inet6, 2), (unix, 1), (unix, 5)} <= let_in
    assert not {(inet, 5), (inet6, 5)} & let_in
    others = [family for family in range(64) if family != unix]
    assert set(calls(sandbox, *((pair, family, 1, 0, 0) for family in others))) == {EPERM}


@pytest.mark.parametrize("family", [2, 10])
def test_no_protocol_has_the_host_load_a_module(sandbox: Sandbox, family: int) -> None:
    tcp, udp, dccp, l2tp, sctp, udplite, raw, mptcp = 6, 17, 33, 115, 132, 136, 255, 262
    socket, cloexec = numbered("socket"), 0o2000000
    usual = [(1, 0), (1, tcp), (2 | cloexec, 0), (2, udp)]
    assert calls(sandbox, *((socket, family, *each) for each in usual)) == ["done"] * 4
    refused = [(5, sctp), (1, sctp), (6, dccp), (6, 0), (2, l2tp), (2, udplite), (3, raw)]
    refused += [(1, mptcp), (1, sctp | HIGH_BIT), (4, 0), (1, HIGH_BIT - 1)]
    answers = calls(sandbox, *((socket, family, *each) for each in refused))
    assert answers == [EPERM] * len(refused)
    assert calls(sandbox, (socket, 16 | HIGH_BIT, 3, 0)) == [EPERM]


def test_the_personality_is_the_usual_one(sandbox: Sandbox) -> None:
    personality, ask, no_randomization = numbered("personality"), 0xFFFFFFFF, 0x0040000
    read_implies_exec, linux32 = 0x0400000, 8
    assert calls(sandbox, (personality, 0), (personality, ask)) == ["done"] * 2
    others = (no_randomization, read_implies_exec, linux32, linux32 | HIGH_BIT, HIGH_BIT)
    assert set(calls(sandbox, *((personality, each) for each in others))) == {EPERM}


def test_a_terminal_loads_no_driver(sandbox: Sandbox) -> None:
    code = """
import ctypes, errno, pty
libc = ctypes.CDLL(None, use_errno=True)
terminal, discipline = pty.openpty()[1], ctypes.byref(ctypes.c_int(27))
for request in (0x5423, 0x5423 | 1 << 32, 0x5424):
    failed = libc.ioctl(terminal, ctypes.c_ulong(request), discipline)
    print(errno.errorcode[ctypes.get_errno()] if failed else "done")
"""
    assert sandbox.output(code) == "EPERM\nEPERM\ndone\n"


@pytest.mark.parametrize("code", [GETPID_OF_32_BITS, GETPID_OF_X32], ids=["i386", "x32"])
def test_calls_with_the_numbers_of_32_bits_are_no_way_around(sandbox: Sandbox, code: str) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("NOT tested, there is nothing like it on this machine: calls of 32 bits")
    result = sandbox.run(code)
    assert (result.signal, result.stdout) == ("SIGSYS", b"")


def test_another_profile_can_take_its_place(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    profile = json.loads((Path(settings.BASE_DIR) / "sandbox" / "seccomp.json").read_text())
    for rule in profile["syscalls"]:
        if "symlink" in rule["names"]:
            rule["names"].remove("symlink")
    file = tmp_path / "profile.json"
    file.write_text(json.dumps(profile))
    settings.SANDBOX_SECCOMP = str(file)
    with started(engine) as sandbox:
        result = sandbox.run("import os; os.symlink('a', 'b')")
    assert os.strerror(errno.EPERM).encode() in result.stderr
