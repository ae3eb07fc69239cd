import pytest
from django.core.checks import run_checks
from pytest_django import Settings

DEFAULTS_ARE_FINE: dict[str, object] = {}


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (DEFAULTS_ARE_FINE, []),
        ({"SANDBOX_CPUS": 0}, ["sandbox.E001"]),
        ({"SANDBOX_WARMING_CPUS": 0}, ["sandbox.E001"]),
        ({"SANDBOX_POOL_STARTS": 0}, ["sandbox.E001"]),
        ({"SANDBOX_MEMORY_MB": 32}, ["sandbox.E002", "sandbox.W001"]),
        ({"SANDBOX_MAX_RUN_SECONDS": 5}, ["sandbox.E003"]),
        ({"SANDBOX_POOL_SIZE": 16}, ["sandbox.E004"]),
        ({"SANDBOX_MAX_SESSION_FILES": 20_000}, ["sandbox.E005"]),
        ({"SANDBOX_WORKSPACE_MB": 512}, ["sandbox.W001"]),
        ({"SANDBOX_SESSION_HOURS": 12}, ["sandbox.W002"]),
    ],
)
def test_settings_that_cannot_work_are_named(
    wrong: dict[str, object], found: list[str], settings: Settings
) -> None:
    for name, value in wrong.items():
        setattr(settings, name, value)
    assert [m.id for m in run_checks() if m.id and m.id.startswith("sandbox.")] == found
