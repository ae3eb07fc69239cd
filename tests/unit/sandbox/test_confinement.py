from __future__ import annotations

from dataclasses import replace

import pytest
from pytest_django import Settings

from keys.limits import Limits
from keys.models import APIKey
from sandbox.confinement import SANDBOX_UID, confinement
from sandbox.engines.docker import host_config
from sandbox.runner import privileges

MB = 1024 * 1024


def test_both_ends_know_the_same_sandbox_user() -> None:
    assert SANDBOX_UID == privileges.SANDBOX_UID


@pytest.mark.parametrize(
    ("setting", "value", "key", "expected"),
    [
        ("SANDBOX_MEMORY_MB", 300, "mem_limit", 300 * MB),
        ("SANDBOX_MEMORY_MB", 300, "memswap_limit", 300 * MB),
        ("SANDBOX_CPUS", 1.5, "cpu_quota", 150_000),
        ("SANDBOX_CPUS", 1.5, "cpu_period", 100_000),
        ("SANDBOX_PIDS", 77, "pids_limit", 77),
        ("SANDBOX_RUNTIME", "runsc", "runtime", "runsc"),
        ("SANDBOX_RUNTIME", "", "runtime", None),
    ],
)
def test_each_limit_is_a_setting(
    settings: Settings, setting: str, value: object, key: str, expected: object
) -> None:
    setattr(settings, setting, value)
    assert host_config(confinement())[key] == expected


@pytest.mark.parametrize(
    ("setting", "path"),
    [
        ("SANDBOX_WORKSPACE_MB", "/mnt/data"),
        ("SANDBOX_TMP_MB", "/tmp"),
        ("SANDBOX_SHM_MB", "/dev/shm"),
    ],
)
def test_each_directory_has_its_size_its_inodes_and_its_owner(
    settings: Settings, setting: str, path: str
) -> None:
    setattr(settings, setting, 7)
    settings.SANDBOX_INODES = 99
    options = host_config(confinement())["tmpfs"][path].split(",")
    assert {f"size={7 * MB}", "nr_inodes=99", "uid=10001", "nosuid", "nodev"} <= set(options)


def test_programs_are_kept_where_only_root_can_write(settings: Settings) -> None:
    settings.SANDBOX_BODY_MB = 9
    options = host_config(confinement())["tmpfs"]["/run/code"].split(",")
    assert {f"size={10 * MB}", "uid=0", "gid=0", "mode=755", "noexec"} <= set(options)


def test_a_runner_has_what_its_programs_may_have_and_what_it_needs(settings: Settings) -> None:
    settings.SANDBOX_OPEN_FILES, settings.SANDBOX_WRITE_MB = 5000, 1000
    limits = {limit["Name"]: limit["Hard"] for limit in host_config(confinement())["ulimits"]}
    assert (limits["nofile"], limits["fsize"]) == (5000, 1001 * MB)
    settings.SANDBOX_OPEN_FILES, settings.SANDBOX_WRITE_MB = 32, 1
    limits = {limit["Name"]: limit["Hard"] for limit in host_config(confinement())["ulimits"]}
    # It writes a session's files, however small those are that programs may write.
    assert (limits["nofile"], limits["fsize"]) == (1024, 257 * MB)
    assert limits["core"] == 1
    assert "nproc" not in limits


def test_under_gvisor_its_own_kernel_counts_the_processes(settings: Settings) -> None:
    settings.SANDBOX_PIDS, settings.SANDBOX_RUNTIME = 77, "runsc-kvm"
    config = host_config(confinement())
    limits = {limit["Name"]: limit["Hard"] for limit in config["ulimits"]}
    assert limits["nproc"] == 77
    assert config["pids_limit"] == 64 * 77


def test_what_is_no_setting_is_as_tight_as_it_can_be() -> None:
    config = host_config(confinement())
    assert config["network_mode"] == "none"
    assert config["cap_drop"] == ["ALL"]
    assert set(config["cap_add"]) == {"SETUID", "SETGID", "KILL", "SETPCAP"}
    assert config["security_opt"][0] == "no-new-privileges"
    assert config["security_opt"][1].startswith("seccomp={")
    assert config["read_only"] is True
    assert config["ipc_mode"] == "private"
    assert config["log_config"]["Type"] == "none"
    assert not {"privileged", "binds", "mounts", "devices", "pid_mode"} & set(config)


def test_a_keys_limits_take_the_place_of_the_servers() -> None:
    key = APIKey(cpus=0.25, memory_mb=200, pids=20, workspace_mb=5, tmp_mb=6, shm_mb=7, inodes=300)
    config = host_config(confinement(Limits.of(key)))
    assert (config["cpu_quota"], config["pids_limit"]) == (25_000, 20)
    assert (config["mem_limit"], config["memswap_limit"]) == (200 * MB, 200 * MB)
    for path, size in {"/mnt/data": 5, "/tmp": 6, "/dev/shm": 7}.items():
        options = config["tmpfs"][path].split(",")
        assert {f"size={size * MB}", "nr_inodes=300"} <= set(options)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("SANDBOX_RUNTIME", "runsc"),
        ("SANDBOX_CPUS", 0.25),
        ("SANDBOX_MEMORY_MB", 300),
        ("SANDBOX_PIDS", 77),
        ("SANDBOX_WORKSPACE_MB", 7),
        ("SANDBOX_INODES", 99),
    ],
)
def test_other_limits_have_another_digest(settings: Settings, setting: str, value: object) -> None:
    before = confinement().digest
    assert before == confinement().digest
    setattr(settings, setting, value)
    assert confinement().digest != before


def test_so_has_another_seccomp_profile() -> None:
    ours = confinement()
    assert replace(ours, seccomp=ours.seccomp.replace('"acce', '"xacce')).digest != ours.digest


def test_another_user_has_all_mounts_but_roots() -> None:
    ours = confinement()
    theirs = ours.of_user(4_000_000)
    assert [mount.uid for mount in theirs.mounts] == [4_000_000, 4_000_000, 4_000_000, 0]
    assert [replace(mount, uid=0) for mount in theirs.mounts] == [
        replace(mount, uid=0) for mount in ours.mounts
    ]
