"""The dashboard and the alerts ask for metrics that the service really has, by their names and
labels: it is started, used, and what it shows is read."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import empty_database
from tests.containers import docker_engine
from tests.service import ROOT, Service, free_port, wait_until

RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
# What Prometheus itself adds to each.
ADDED = {"instance", "job"}
NAME = re.compile(r"\binterpreter_\w+")
# A name with its labels, and what is summed by or over.
SELECTOR = re.compile(r"(\binterpreter_\w+)\{([^}]*)\}")
LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
GROUPED = re.compile(r"\bby \(([\w, ]+)\)")


@dataclass(frozen=True)
class Shown:
    """The names of all samples and their labels, of the API and the keeper."""

    labels: dict[str, set[str]]
    text: dict[str, str]


def read(port: int) -> str:
    response = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=60)
    assert response.status_code == 200
    return response.text


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    docker_engine()
    api, keeper = free_port(), free_port()
    settings = {
        "METRICS_PORT": str(api),
        "KEEPER_METRICS_PORT": str(keeper),
        "HEALTH_RUN_SECONDS": "600",
    }
    with (
        empty_database(f"interpreter_metrics_{api}") as url,
        Service(
            directory=tmp_path_factory.mktemp("metrics"), database_url=url, settings=settings
        ) as service,
    ):
        ready = service.url + "/health/ready"
        wait_until(lambda: requests.get(ready, timeout=60).status_code == 200, seconds=180)
        session = service.run("print(1)")["session_id"]
        service.run("while true; do :; done", lang="bash", session_id=session, timeout=1000)
        assert service.get("/nowhere").status_code == 404
        text = {"api": read(api), "keeper": read(keeper)}
        labels: dict[str, set[str]] = {}
        for each in text.values():
            for family in text_string_to_metric_families(each):
                for sample in family.samples:
                    labels.setdefault(sample.name, set()).update(sample.labels)
        yield Shown(labels, text)


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    found = re.findall(r"expr: (?:>-\n)?(.*?)\n        (?:for|labels):", RULES.read_text(), re.S)
    assert len(found) == RULES.read_text().count("- alert:")
    return queries + [expression.replace("\n", " ") for expression in found]


@pytest.mark.parametrize("expression", expressions())
def test_what_is_asked_for_is_shown(shown: Shown, expression: str) -> None:
    names = set(NAME.findall(expression))
    assert names <= shown.labels.keys()
    for name, selector in SELECTOR.findall(expression):
        assert set(LABEL.findall(selector)) <= shown.labels[name] | ADDED, name
    known = set().union(*(shown.labels[name] for name in names)) | ADDED
    for group in GROUPED.findall(expression):
        assert {label.strip() for label in group.split(",")} <= known


def test_legends_and_texts_name_labels_that_are_there(shown: Shown) -> None:
    labels = set().union(*shown.labels.values()) | ADDED
    used = re.findall(r"\{\{\s*(\w+)\s*\}\}", DASHBOARD.read_text())
    used += re.findall(r"\$labels\.(\w+)", RULES.read_text())
    assert used
    assert set(used) <= labels


def test_every_metric_is_documented(shown: Shown) -> None:
    section = (ROOT / "docs/operating.md").read_text().split("\n## Metrics\n")[1].split("\n## ")[0]
    for name in shown.labels:
        if name.startswith("interpreter_"):
            plain = re.sub(r"_(bucket|sum|count|created)$", "", name).removeprefix("interpreter_")
            assert f"`{plain}`" in section, name


def test_what_has_happened_is_counted(shown: Shown) -> None:
    api = shown.text["api"]
    for line in (
        'interpreter_runs_total{language="py",outcome="succeeded"} 1.0',
        'interpreter_runs_total{language="bash",outcome="timed_out"} 1.0',
        'interpreter_run_limits_hit_total{limit="wall_time"} 1.0',
        'interpreter_requests_total{route="exec",status="200"} 2.0',
        'interpreter_run_containers_total{source="session"} 1.0',
        "interpreter_ready 1.0",
    ):
        assert line in api.splitlines()
    keeper = shown.text["keeper"].splitlines()
    assert 'interpreter_canary_runs_total{result="ok"} 1.0' in keeper
    # The canary's are nobody's.
    assert 'interpreter_runs_total{language="py",outcome="succeeded"} 1.0' not in keeper


def promtool() -> str:
    found = shutil.which("promtool")
    if not found:
        pytest.skip("promtool is not installed; Debian's package prometheus has it")
    return found


def test_prometheus_takes_the_rules_and_the_metrics(shown: Shown, tmp_path: Path) -> None:
    tool = promtool()
    for arguments in (
        ["check", "rules", str(RULES)],
        ["check", "config", "--syntax-only", str(RULES.with_name("prometheus.yml"))],
    ):
        done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    for text in shown.text.values():
        done = subprocess.run(
            [tool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    # The dashboard's queries as rules, so that they are parsed.
    rules = [
        {"record": f"q:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(expressions())
    ]
    queries = tmp_path / "queries.json"
    queries.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(
        [tool, "check", "rules", str(queries)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
