"""The metrics of several workers, on a port of their own."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from audit.models import Execution
from keys.models import APIKey
from tests.service import free_port
from tests.unit.api.gunicorn import Server, database_url, serving
from tests.unit.api.test_live_server import eventually, request, run
from tests.unit.api.test_live_stopping import WAITING

WORKERS = 3


@pytest.fixture(scope="module")
def metrics_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(
    django_db_setup: None, metrics_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with serving(
        tmp_path_factory.mktemp("metrics"),
        DATABASE_URL=database_url(),
        WEB_WORKERS=str(WORKERS),
        METRICS_PORT=str(metrics_port),
        HEALTH_RUN_SECONDS="0",
    ) as running:
        yield running


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body


def value(port: int, name: str, **labels: str) -> float:
    """The sum of the samples with these labels."""
    status, body = get(port, "/metrics")
    assert status == 200
    return sum(
        sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_all_workers_are_counted_whichever_is_asked(
    server: Server, metrics_port: int, transactional_db: None
) -> None:
    requests = 20 * WORKERS
    before = value(metrics_port, "interpreter_requests_total", route="unknown", status="404")
    for _ in range(requests):
        request(server, "GET", "/nowhere")
    for _ in range(WORKERS):
        after = value(metrics_port, "interpreter_requests_total", route="unknown", status="404")
        assert after - before == requests


def test_a_run_is_counted_with_its_steps(
    server: Server, metrics_port: int, transactional_db: None
) -> None:
    secret = APIKey.issue(name="Alice")[1]
    session = run(server, secret, "print(1)")["session_id"]
    run(server, secret, "raise SystemExit(3)", session_id=session)
    for outcome in ("succeeded", "failed"):
        counted = value(metrics_port, "interpreter_runs_total", language="py", outcome=outcome)
        assert counted == 1
    assert value(metrics_port, "interpreter_run_step_seconds_count", step="total") == 2
    assert value(metrics_port, "interpreter_run_containers_total") == 2
    assert value(metrics_port, "interpreter_containers", state="idle") == 1
    assert value(metrics_port, "interpreter_sessions_live") == 1


def test_each_port_shows_its_own_only(server: Server, metrics_port: int) -> None:
    assert get(server.port, "/metrics")[0] == 404
    assert get(server.port, f"http://127.0.0.1:{metrics_port}/metrics")[0] == 404
    for path in ("/health", "/admin/", "/exec"):
        status, body = get(metrics_port, path)
        assert status == 200
        assert body.startswith("# HELP interpreter_")


def test_the_files_of_the_workers_go_with_the_server(django_db_setup: None, tmp_path: Path) -> None:
    port = str(free_port())
    with serving(
        tmp_path, DATABASE_URL=database_url(), METRICS_PORT=port, TMPDIR=str(tmp_path)
    ) as server:
        request(server, "GET", "/nowhere")
        assert list(tmp_path.glob("interpreter-metrics-*/counter_*.db"))
    assert not list(tmp_path.glob("interpreter-metrics-*"))


def test_who_watches_is_answered_while_every_thread_has_a_run(
    transactional_db: None, tmp_path: Path
) -> None:
    secret = APIKey.issue(name="Alice")[1]
    end, port = tmp_path / "end", free_port()
    with (
        ThreadPoolExecutor(2) as threads,
        serving(
            tmp_path,
            DATABASE_URL=database_url(),
            WEB_THREADS="1",
            METRICS_PORT=str(port),
            HEALTH_RUN_SECONDS="0",
        ) as server,
    ):
        # The fake engine is this process' own, and there once somebody has asked for it.
        run(server, secret, "print('first')")
        waiting = threads.submit(run, server, secret, WAITING.format(path=str(end)))
        try:
            eventually(lambda: Execution.objects.running().exclude(container=None).exists())
            behind = threads.submit(run, server, secret, "print('next')")
            for path in ("/health", "/health/ready"):
                assert get(server.port, path)[0] == 200
            assert value(port, "interpreter_runs_running") == 1
            assert not waiting.done()
            assert not behind.done()
        finally:
            end.touch()
        assert waiting.result(60)["stdout"] == "done\n"
        assert behind.result(60)["stdout"] == "next\n"
