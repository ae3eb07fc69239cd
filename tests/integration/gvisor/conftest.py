"""A Docker engine of the tests' own, which knows gVisor: `RUNSC`, or else Debian's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.conf import settings

from tests.conftest import empty_database
from tests.containers import docker_engine
from tests.engines import PrivateEngine
from tests.service import Service

RUNTIME = "runsc"
RUNSC = os.environ.get("RUNSC") or "/usr/bin/runsc"
# What works on every machine; a newer release has a faster one, and takes that by itself.
FLAGS = ("--platform=ptrace", "--network=none")
# In an older one, of which Debian 12's is, the filter breaks what a signal interrupts.
FILTERS_SINCE = 2024
# Of two CPUs, for the sake of whoever waits for the tests.
CPUS = 2.0


def year_of_release() -> int:
    told = subprocess.run([RUNSC, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\b(20\d\d)\d{4}\b", told)
    assert found, f"no release that we know: {told}"
    return int(found[1])


@pytest.fixture(scope="package")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateEngine]:
    docker_engine()
    if shutil.which(RUNSC) is None:
        pytest.skip("NOT tested, there is no gVisor: install Debian's package runsc")
    command = (RUNSC, *FLAGS, *(["--oci-seccomp"] if year_of_release() >= FILTERS_SINCE else []))
    made = PrivateEngine(tmp_path_factory.mktemp("gvisor"), {RUNTIME: command})
    try:
        made.start()
        made.load(settings.SANDBOX_IMAGE)
        plain = ["run", "--rm", "--network=none", "--runtime", RUNTIME, "--entrypoint=true"]
        if made.command(*plain, settings.SANDBOX_IMAGE):
            pytest.skip(f"NOT tested, gVisor cannot start here: {' '.join(command)}")
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="package")
def gvisor_service(
    private: PrivateEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    with ExitStack() as stack:
        service = Service(
            directory=tmp_path_factory.mktemp("gvisor-service"),
            database_url=stack.enter_context(empty_database(f"interpreter_gvisor_{os.getpid()}")),
            settings={
                "DOCKER_HOST": private.host,
                "SANDBOX_RUNTIME": RUNTIME,
                "SANDBOX_CPUS": str(CPUS),
                "SANDBOX_MEMORY_MB": "1024",
            },
        )
        yield stack.enter_context(service)
