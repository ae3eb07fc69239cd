from pathlib import Path

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from keys.limits import LIMITS, Limit

DEFAULTS_ARE_FINE: dict[str, object] = {}


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (DEFAULTS_ARE_FINE, []),
        ({"SANDBOX_CPUS": 0}, ["sandbox.E001"]),
        ({"SANDBOX_WARMING_CPUS": 0}, ["sandbox.E001"]),
        ({"SANDBOX_POOL_STARTS": 0}, ["sandbox.E001"]),
        ({"SANDBOX_PIDS": -1}, ["sandbox.E001"]),
        ({"SANDBOX_CPUS": float("nan")}, ["sandbox.E001"]),
        ({"SANDBOX_CPUS": float("inf")}, ["sandbox.E001"]),
        ({"SANDBOX_WARMING_CPUS": float("nan")}, ["sandbox.E001"]),
        ({"SANDBOX_RUN_SECONDS": float("nan")}, ["sandbox.E001"]),
        ({"SANDBOX_MAX_RUN_SECONDS": float("nan")}, ["sandbox.E001"]),
        ({"SANDBOX_MEMORY_MB": 127}, ["sandbox.E001", "sandbox.E002", "sandbox.W001"]),
        ({"SANDBOX_TMP_MB": 513}, ["sandbox.E002", "sandbox.W001"]),
        ({"SANDBOX_SHM_MB": 513}, ["sandbox.E002", "sandbox.W001"]),
        ({"SANDBOX_FILES_MB": 257}, ["sandbox.E002"]),
        ({"SANDBOX_MAX_RUN_SECONDS": 5}, ["sandbox.E003"]),
        ({"SANDBOX_POOL_SIZE": 16}, ["sandbox.E004"]),
        ({"SANDBOX_MAX_SESSION_FILES": 20_000}, ["sandbox.E005"]),
        ({"SANDBOX_WORKSPACE_MB": 512}, ["sandbox.W001"]),
        ({"SANDBOX_SESSION_HOURS": 12}, ["sandbox.W002"]),
        ({"HEALTH_RUN_SECONDS": 0}, []),
        ({"HEALTH_RUN_SECONDS": 5}, ["sandbox.E020"]),
        ({"HEALTH_RUN_SECONDS": float("nan")}, ["sandbox.E020"]),
        ({"METRICS_PORT": 70_000}, ["sandbox.E021"]),
        ({"KEEPER_METRICS_PORT": -1}, ["sandbox.E021"]),
    ],
)
def test_settings_that_cannot_work_are_named(
    wrong: dict[str, object], found: list[str], settings: Settings
) -> None:
    for name, value in wrong.items():
        setattr(settings, name, value)
    ids = [m.id for m in run_checks() if m.id and m.id.startswith("sandbox.")]
    assert sorted(ids) == sorted(found)


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_no_limit_can_be_set_to_nothing(limit: Limit, settings: Settings) -> None:
    setattr(settings, limit.setting, 0)
    [found] = [m for m in run_checks() if m.msg.startswith(f"{limit.setting} must be at least")]
    assert found.id == "sandbox.E001"
    assert found.hint
    assert "It is 0." in found.hint
    assert limit.unit in found.hint


@pytest.mark.parametrize(
    ("profile", "found"),
    [
        ('{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"]}]}', []),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{}]}', ["sandbox.W003"]),
        ('{"defaultAction": "SCMP_ACT_LOG", "syscalls": [{}]}', ["sandbox.W003"]),
        # To the engine this one means none.
        ("{}", ["sandbox.E006"]),
        ('{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}', ["sandbox.E006"]),
        ('{"syscalls": [{"names": ["read"]}]}', ["sandbox.E006"]),
        ("[]", ["sandbox.E006"]),
        ("unconfined", ["sandbox.E006"]),
        ("\xff", ["sandbox.E006"]),
        ("", ["sandbox.E006"]),
    ],
)
def test_a_seccomp_profile_that_is_none_is_refused(
    profile: str, found: list[str], settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "profile.json"
    file.write_bytes(profile.encode("latin-1"))
    settings.SANDBOX_SECCOMP = str(file)
    assert [m.id for m in run_checks() if m.id and m.id.startswith("sandbox.")] == found


@pytest.mark.parametrize("path", ["unconfined", "/", "/nowhere/profile.json"])
def test_so_is_what_cannot_be_read(path: str, settings: Settings) -> None:
    settings.SANDBOX_SECCOMP = path
    [message] = [m for m in run_checks() if m.id == "sandbox.E006"]
    assert path in message.msg
