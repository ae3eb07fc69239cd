"""The whole service with its containers under gVisor."""

from __future__ import annotations

import subprocess

import pytest

from tests.engines import PrivateEngine
from tests.integration.gvisor.conftest import RUNTIME
from tests.service import Service


@pytest.mark.django_db
def test_a_session_keeps_its_files_and_its_verdicts(gvisor_service: Service) -> None:
    service = gvisor_service
    first = service.run("open('a.txt', 'w').write('one'); print(6 * 7)")
    assert (first["stdout"], first["code"]) == ("42\n", 0)
    assert [file["name"] for file in first["files"]] == ["a.txt"]
    session = first["session_id"]
    shell = service.run("cat a.txt; python3 -c 'print(2)'", lang="bash", session_id=session)
    assert shell["stdout"] == "one2\n"

    lost = service.run(
        "x = bytearray(2**30)\nfor i in range(0, 2**30, 4096): x[i] = 1", session_id=session
    )
    assert "Out of memory" in lost["stderr"]

    after = service.run("print(open('a.txt').read())", session_id=session)
    assert after["stdout"] == "one\n"


def test_no_container_of_the_service_is_under_another_runtime(
    gvisor_service: Service, private: PrivateEngine
) -> None:
    names = list(gvisor_service.containers())
    command = ["docker", "-H", private.host, "inspect", "-f", "{{.HostConfig.Runtime}}", *names]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert told
    assert set(told) == {RUNTIME}
