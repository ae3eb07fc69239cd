"""Quotas of the running service, with what real containers use."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from tests.integration.test_service import in_background, wait_for_run
from tests.service import Service

# More than a crashed worker's lease, and the time until the keeper looks.
RECOVERY_SECONDS = 120
BURN = "import time\nwhile time.process_time() < 1.2: pass\nprint('done')"


def wait_past_midnight() -> None:
    """Where it is near: a day's counters then begin anew."""
    now = datetime.now(UTC)
    tomorrow = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    if tomorrow - now < timedelta(minutes=3):
        time.sleep((tomorrow - now).total_seconds() + 1)


@pytest.fixture
def limited(service: Service) -> Any:
    """Calls with a key of some quotas; the service's own key is as it was."""
    was = service.key

    def issue(*quotas: str) -> None:
        arguments = [argument for quota in quotas for argument in ("--quota", quota)]
        service.key = service.manage("createapikey", "limited", *arguments).split()[-1]

    yield issue
    service.key = was


def run(service: Service, code: str, **body: Any) -> requests.Response:
    return service.post("/exec", json={"lang": "py", "code": code} | body)


def test_cpu_time_is_what_the_container_used(service: Service, limited: Any) -> None:
    wait_past_midnight()
    limited("cpu_seconds_per_day=1", "runs_per_day=100")
    # On a busy machine its share may come late.
    first = run(service, BURN, timeout=300_000)
    assert first.json()["stdout"] == "done\n"
    assert first.json()["cpu_time"] >= 1000
    refused = run(service, "print(1)")
    assert refused.status_code == 429
    body = refused.json()
    assert body["error"] == "rate_limited"
    assert 0 < body["retry_after_seconds"] <= 24 * 3600
    assert refused.headers["Retry-After"] == str(body["retry_after_seconds"])
    counted = service.sql(
        "import json; usage = Usage.objects.latest('pk');"
        "print(json.dumps([usage.cpu_ms, usage.runs, usage.refused]))"
    )
    assert json.loads(counted) == [first.json()["cpu_time"], 1, {"cpu_seconds_per_day": 1}]


def test_files_over_the_storage_quota_are_left_out_of_a_real_workspace(
    service: Service, limited: Any
) -> None:
    limited("stored_mb=1")
    code = "open('a.bin', 'wb').write(bytes({})); print('done')"
    first = run(service, code.format(600_000)).json()
    assert [file["name"] for file in first["files"]] == ["a.bin"]
    grown = run(service, code.format(900_000), session_id=first["session_id"]).json()
    assert (grown["stdout"], grown["files"]) == ("done\n", [])
    assert grown["limits_hit"] == ["stored_bytes"]
    # The container has it, the store what was there before.
    size = "import os; print(os.path.getsize('a.bin'))"
    there = run(service, size, session_id=first["session_id"]).json()
    assert there["stdout"] == "900000\n"


def test_the_place_of_a_run_whose_server_was_killed_becomes_free(
    service: Service, limited: Any
) -> None:
    limited("concurrent_runs=1")
    session_id = run(service, "print(1)").json()["session_id"]
    thread, _ = in_background(service, "import time; time.sleep(60)", session_id=session_id)
    wait_for_run(service, session_id)
    assert run(service, "print(2)").status_code == 429
    assert service.api is not None
    service.api.kill()
    thread.join()
    service.start_api()
    deadline = time.monotonic() + RECOVERY_SECONDS
    while (answer := run(service, "print(3)")).status_code == 429:
        assert time.monotonic() < deadline, "its place is still taken"
        time.sleep(1)
    assert answer.json()["stdout"] == "3\n"
