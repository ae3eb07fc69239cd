"""The doctor on a real service, and on containers and images that are not as they should be."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest
from django.conf import settings as django_settings
from pytest_django import Settings

from keys.limits import Limits
from sandbox.confinement import Confinement, confinement
from sandbox.doctor import isolation, sandboxes
from sandbox.doctor.limits import Trial
from sandbox.engines import engine
from sandbox.findings import Finding, Level
from sandbox.probe import MB, installation, remove_strays, started
from tests.containers import docker_engine
from tests.service import ROOT, Service

LONG_KEY = "only-for-tests-and-long-enough-for-the-checks-of-a-deployment"
LIMITS = {
    "bytes",
    "cpu_time",
    "cpus",
    "file_size",
    "inodes",
    "memory",
    "open_files",
    "output",
    "processes",
    "wall_clock",
}


@pytest.fixture(autouse=True)
def _engine() -> None:
    docker_engine()


def doctor(
    service: Service, *arguments: str, **environment: str
) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit status, and the findings by what was looked at."""
    done = subprocess.run(
        [sys.executable, "manage.py", "doctor", "--json", *arguments],
        cwd=ROOT,
        env=service.environment | {"SECRET_KEY": LONG_KEY, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, {finding["check"]: finding for finding in json.loads(done.stdout)}


def failed(found: Iterator[Finding]) -> set[str]:
    return {finding.check for finding in found if finding.level == Level.FAIL}


def test_a_service_that_is_well(service: Service, tmp_path: Path) -> None:
    env = tmp_path / "librechat.env"
    env.write_text(
        f"LIBRECHAT_CODE_BASEURL=http://interpreter:8000\nLIBRECHAT_CODE_API_KEY={service.key}\n"
    )
    asked = ["--fix", "--librechat-env", str(env), "--librechat-version", "0.8.5"]
    status, found = doctor(service, *asked)
    wrong = [finding for finding in found.values() if finding["level"] == "fail"]
    assert wrong == []
    assert status == 0
    assert {name.partition(".")[2] for name in found if name.startswith("limit.")} == LIMITS
    for check in ("keeper.alive", "database.migrations", "isolation.network", "librechat.key"):
        assert found[check]["level"] == "ok", found[check]
    assert engine().list(f"{service.environment['SANDBOX_INSTALLATION']}-doctor") == []


def test_without_engine_and_database_it_says_so_and_goes_on(service: Service) -> None:
    status, found = doctor(
        service,
        "--fix",
        DOCKER_HOST="unix:///there/is/none.sock",
        DATABASE_URL="postgres://nobody@127.0.0.1:9/none",
    )
    assert status == 1
    levels = {check: finding["level"] for check, finding in found.items()}
    assert (levels["engine.reachable"], levels["database.reachable"]) == ("fail", "fail")
    assert (levels["sandbox"], levels["keeper"]) == ("skip", "skip")
    assert levels["store.write"] == "ok"
    assert all(finding["advice"] for finding in found.values() if finding["level"] == "fail")


def test_limits_that_the_container_does_not_have() -> None:
    """As an engine that does not keep what it is asked for."""
    asked = confinement()
    wider = replace(
        asked,
        cpus=4.0,
        memory_bytes=asked.memory_bytes + 512 * MB,
        pids=asked.pids * 4,
        mounts=tuple(
            replace(mount, size_bytes=mount.size_bytes + 64 * MB, inodes=mount.inodes + 1000)
            for mount in asked.mounts
        ),
    )
    expected = {"limit.bytes", "limit.inodes", "limit.memory", "limit.processes"}
    if (os.cpu_count() or 1) > asked.cpus:
        expected.add("limit.cpus")
    with started(wider) as probe:
        assert failed(Trial(probe, Limits.of()).check()) == expected


def test_system_calls_that_are_not_filtered() -> None:
    allow = "SCMP_ACT_ALLOW"
    profile = {"defaultAction": allow, "syscalls": [{"names": ["read"], "action": allow}]}
    with started(replace(confinement(), seccomp=json.dumps(profile))) as probe:
        # To make a namespace is what the filter keeps from a program first of all.
        assert "isolation.seccomp" in failed(isolation.check(probe))


@pytest.fixture
def other_runner() -> Iterator[str]:
    """An image like ours, but for its runner."""
    tag = f"custom-rce-other-runner:{os.getpid()}"
    dockerfile = (
        f"FROM {django_settings.SANDBOX_IMAGE}\n"
        "RUN echo '# changed' >> /opt/sandbox/runner/room.py\n"
    )
    client = docker.from_env()
    client.images.build(fileobj=io.BytesIO(dockerfile.encode()), tag=tag, rm=True)
    yield tag
    client.images.remove(tag, force=True)
    client.close()


def test_an_image_with_another_runner(other_runner: str, settings: Settings) -> None:
    settings.SANDBOX_IMAGE = other_runner
    [finding] = sandboxes.check()
    assert (finding.check, finding.level) == ("sandbox.default", Level.FAIL)
    assert "holds runner" in finding.text


def test_a_further_image_is_started_as_well(settings: Settings, other_runner: str) -> None:
    settings.SANDBOX_IMAGES = {"science": other_runner}
    settings.SANDBOX_IMAGE = "there-is-no-such-image:latest"
    assert failed(sandboxes.check()) == {"sandbox.default", "sandbox.science"}


def test_what_a_killed_doctor_has_left_is_removed() -> None:
    confined: Confinement = confinement()
    with started(confined) as probe:
        assert [info.name for info in engine().list(installation())] == [probe.name]
        # It is none of the service's, whose keeper would take it for a stray.
        assert probe.name not in [info.name for info in engine().list()]
        remove_strays()
        assert engine().list(installation()) == []
