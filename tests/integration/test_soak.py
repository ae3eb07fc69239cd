"""A minute of mixed load on a service of its own, judged by what a minute can show."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from soak.leftovers import Leftovers
from soak.soaking import RESULTS
from tests.containers import docker_engine
from tests.service import ROOT, Service


def test_a_minute_of_everything_leaves_nothing_and_breaks_nothing(tmp_path: Path) -> None:
    docker_engine()
    path = tmp_path / "soak.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "soak", "--minutes", "1", "--json", str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "every answer was right" in output
    report = json.loads(path.read_text())
    assert report["findings"] == []
    assert len(report["samples"]) == 6
    for sample in report["samples"]:
        assert {*sample["held"]} == {"api", "keeper", "postgres", "dockerd"}
        assert sample["held"]["api"]["descriptors"] > sample["held"]["keeper"]["descriptors"] > 0
        assert sample["calls"]["right"] > 0
        assert sample["stored_bytes"] > 0
    assert not list(RESULTS.glob(f"run-{process.pid}-*"))


def test_a_server_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    command = ["--minutes", "0.05", "--base-url", "http://127.0.0.1:1", "--api-key", "secret"]
    done = subprocess.run(
        [sys.executable, "-m", "soak", *command, "--json", str(tmp_path / "soak.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "FAILED: no call was answered" in done.stderr
    assert "ConnectionRefusedError" in done.stderr
    assert "secret" not in (tmp_path / "soak.json").read_text()


@pytest.fixture
def file_of(service: Service) -> tuple[str, Path]:
    answer = service.run("open('a.txt', 'w').write('one')")
    session_id, file_id = answer["session_id"], answer["files"][0]["id"]
    key = f"{session_id[:2]}/{session_id}/{file_id}"
    return key, Path(service.environment["SANDBOX_STORE_DIR"]) / key


def test_what_does_not_belong_together_is_found(
    service: Service, file_of: tuple[str, Path]
) -> None:
    key, path = file_of
    store = Path(service.environment["SANDBOX_STORE_DIR"])
    with Leftovers(
        database_url=service.environment["DATABASE_URL"],
        store=store,
        installation=service.environment["SANDBOX_INSTALLATION"],
    ) as leftovers:
        before = {*leftovers.find(), *leftovers.find_in_store()}
        session_id = key.split("/")[1]
        path.write_bytes(b"two")
        assert f"other bytes than its row says: {key}" in leftovers.find_in_store()
        path.rename(path.with_name("another"))
        service.sql(f"Execution.objects.filter(session={session_id!r}).update(status='running')")
        found = {*leftovers.find()} - before
        assert f"row without its bytes: {key}" in found
        assert f"bytes without a row: {key.rpartition('/')[0]}/another" in found
        path.with_name("another").unlink()
        service.sql(f"SandboxFile.objects.filter(session={session_id!r}).delete()")
        assert {*leftovers.find_in_store()} - before == {
            f"empty directory: {key.rpartition('/')[0]}"
        }
