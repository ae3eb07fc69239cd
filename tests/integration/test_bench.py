"""That script/bench measures what it says; how long anything took is no test's business."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.service import RESULTS
from tests.containers import docker_engine
from tests.service import ROOT, Service


def bench(path: Path, *arguments: str, **environment: str) -> tuple[dict[str, Any], int]:
    """Its report, and the process's id, which is in the names of all that it starts."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", "--json", str(path), *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "No errors." in output
    report: dict[str, Any] = json.loads(path.read_text())
    return report, process.pid


def test_it_compares_a_service_of_its_own_with_docker_exec(tmp_path: Path) -> None:
    docker_engine()
    names = ["print", "start", "memory", "libraries"]
    only = [part for name in names for part in ("--only", name)]
    report, pid = bench(tmp_path / "report.json", "--rounds", "2", *only)
    (comparison,) = report["comparisons"]
    assert comparison["ours"]["summary"]["count"] == 2
    assert comparison["docker_exec"]["summary"]["count"] == 2
    assert comparison["ratio"] > 0
    # Twice before they count, with which the session has got its container.
    assert comparison["containers_from"] == {"session": 2}
    assert comparison["steps_ms"]["run"] >= comparison["steps_ms"]["program"] > 0
    assert report["start"]["times"]["summary"]["count"] >= 3
    assert report["memory"]["alone_mb"] >= report["memory"]["pss_mb"] > 0
    libraries = report["libraries"]
    chosen = [one for one in libraries["libraries"] if one["is_chosen"]]
    listed = (ROOT / "image/python/preload.txt").read_text().split()
    assert [one["name"] for one in chosen] == listed
    assert len(libraries["libraries"]) > len(chosen)
    assert sum(one["memory_mb"] for one in chosen) < libraries["chosen_mb"]
    assert all(one["cpu_ms"] > 0 for one in libraries["libraries"])
    left = subprocess.run(
        ["docker", "ps", "--all", "--format", "{{.Names}} {{.Labels}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"bench-plain-{pid}" not in left.stdout
    assert f"bench-run-{pid}-" not in left.stdout
    assert not list(RESULTS.glob(f"run-{pid}-*"))


def test_it_measures_another_server_by_its_address(service: Service, tmp_path: Path) -> None:
    report, _ = bench(
        tmp_path / "report.json",
        *("--base-url", service.url, "--no-docker", "--rounds", "1", "--seconds", "1"),
        *("--only", "1mb", "--only", "throughput-continued"),
        BENCH_API_KEY=service.key,
    )
    (moved,) = report["transfers"]
    assert moved["total"]["summary"]["count"] == 1
    assert moved["megabytes_per_second"]["download"] > 0
    (load,) = report["throughputs"]
    assert load["per_second"] > 0
    assert service.key not in (tmp_path / "report.json").read_text()


def test_it_measures_the_admin_over_executions_of_its_own(tmp_path: Path) -> None:
    report, pid = bench(
        tmp_path / "report.json", "--admin", "--executions", "3000", "--rounds", "2"
    )
    assert report["executions"] == 3000
    pages = report["pages"]
    assert {title.partition(",")[0] for title in pages} == {
        "dashboard",
        "executions",
        "API keys",
        "the page of the busiest key",
    }
    assert {page["summary"]["count"] for page in pages.values()} == {1, 2}
    assert report["counted_mb"] > 0
    assert not list(RESULTS.glob(f"admin-{pid}-*"))
