"""The seccomp profile that comes with the service, kept honest."""

from __future__ import annotations

import errno
import json
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from sandbox import seccomp
from sandbox.confinement import confinement
from sandbox.engines.docker import host_config
from tests.syscalls import ARCHITECTURES, LEFT_OUT, YOUNG, number

PROFILE = json.loads(seccomp.SHIPPED.read_text())
RULES: list[dict[str, Any]] = PROFILE["syscalls"]
ALLOWED = [rule for rule in RULES if rule["action"] == "SCMP_ACT_ALLOW"]
NAMES = sorted({name for rule in RULES for name in rule["names"]})
# Of which some uses are allowed.
FILTERED = {"clone", "ioctl", "mknod", "mknodat", "personality", "socket", "socketpair"}
COMPARISONS = {"SCMP_CMP_EQ", "SCMP_CMP_LE", "SCMP_CMP_MASKED_EQ"}


def test_what_is_not_named_is_refused() -> None:
    assert PROFILE["defaultAction"] == "SCMP_ACT_ERRNO"
    assert PROFILE["defaultErrnoRet"] == errno.EPERM
    assert not seccomp.allows_by_default(PROFILE)


def test_no_program_of_32_bits_is_served() -> None:
    """On x86_64 that leaves out i386 and x32, whose calls have other numbers."""
    assert PROFILE["archMap"] == [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []},
    ]
    assert "architectures" not in PROFILE


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_of_a_call_that_there_is(name: str) -> None:
    assert any(number(name, architecture) is not None for architecture in ARCHITECTURES)


def test_a_name_with_a_slip_in_it_would_be_found() -> None:
    assert number("opneat") is None
    # And one that only programs of 32 bits can call.
    assert number("mmap2", "x86_64") is number("mmap2", "aarch64") is None


@pytest.mark.parametrize("name", sorted(YOUNG))
def test_a_young_call_has_the_number_that_a_newer_libseccomp_knows(name: str) -> None:
    assert number(name, "x86_64") == YOUNG[name]


def test_no_name_is_there_twice() -> None:
    plain = [name for rule in RULES if "args" not in rule for name in rule["names"]]
    filtered = [(name, str(r["args"])) for r in RULES if "args" in r for name in r["names"]]
    assert len(plain) == len(set(plain))
    assert len(filtered) == len(set(filtered))
    assert {name for name, _ in filtered} == FILTERED
    # One that is allowed whatever its arguments makes its filters void.
    assert not FILTERED & set(plain)


def test_names_are_sorted_and_each_group_says_what_it_is_for() -> None:
    for rule in RULES:
        assert rule["names"] == sorted(rule["names"])
        assert rule["comment"].endswith(".")
        assert rule.keys() <= {"comment", "names", "action", "args", "errnoRet"}


@pytest.mark.parametrize("name", sorted(LEFT_OUT))
def test_what_a_program_is_to_be_refused_is_not_in_it_and_the_reason_is(name: str) -> None:
    assert not any(name in rule["names"] for rule in ALLOWED)
    words = {word for rule in RULES for word in re.findall(r"\w+", rule["comment"])}
    refused = [rule for rule in RULES if name in rule["names"]]
    assert name in words or [rule["action"] for rule in refused] == ["SCMP_ACT_ERRNO"]


def test_the_c_library_is_told_that_there_is_no_clone3() -> None:
    [rule] = [rule for rule in RULES if "clone3" in rule["names"]]
    assert (rule["action"], rule["errnoRet"]) == ("SCMP_ACT_ERRNO", errno.ENOSYS)


def test_under_gvisor_it_is_told_so_in_another_way() -> None:
    """It would say EPERM, whatever the rule says, and then no program has a thread."""
    [_, option] = host_config(replace(confinement(), runtime="runsc"))["security_opt"]
    translated = json.loads(option.removeprefix("seccomp="))
    [rule] = [rule for rule in translated["syscalls"] if "clone3" in rule["names"]]
    assert rule["action"] == "SCMP_ACT_TRACE"
    assert "errnoRet" not in rule
    rest = [rule for rule in RULES if "clone3" not in rule["names"]]
    assert [rule for rule in translated["syscalls"] if "clone3" not in rule["names"]] == rest
    assert translated["defaultAction"] == PROFILE["defaultAction"]
    # Which could let the call through.
    assert not any("ptrace" in rule["names"] for rule in ALLOWED)


@pytest.mark.parametrize(("name", "index"), [("mknod", 1), ("mknodat", 2)])
def test_every_kind_of_file_can_be_made_but_devices(name: str, index: int) -> None:
    [rule] = [rule for rule in RULES if name in rule["names"]]
    [condition] = rule["args"]
    assert (condition["index"], condition["op"]) == (index, "SCMP_CMP_MASKED_EQ")
    is_allowed = {
        kind: kind & condition["value"] == condition["valueTwo"]
        for kind in (0, stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)
    }
    refused = {kind for kind, allowed in is_allowed.items() if not allowed}
    assert refused == {stat.S_IFCHR, stat.S_IFBLK}


def test_conditions_are_such_as_the_upper_half_of_an_argument_cannot_get_around() -> None:
    """A filter compares 64 bits; of most arguments the kernel looks at the lower 32 alone. So
    nothing may be allowed for not being something."""
    conditions = [condition for rule in RULES for condition in rule.get("args", [])]
    assert {condition["op"] for condition in conditions} == COMPARISONS
    for condition in conditions:
        assert condition["value"] < 2**32
        assert condition["op"] != "SCMP_CMP_MASKED_EQ" or "valueTwo" in condition


def test_the_profile_is_given_to_the_engine(settings: Settings, tmp_path: Path) -> None:
    [_, option] = host_config(confinement())["security_opt"]
    assert json.loads(option.removeprefix("seccomp=")) == PROFILE
    other = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"]}]}
    file = tmp_path / "other.json"
    file.write_text(json.dumps(other))
    settings.SANDBOX_SECCOMP = str(file)
    [_, option] = host_config(confinement())["security_opt"]
    assert json.loads(option.removeprefix("seccomp=")) == other
