"""script/image NAME FILE, as docs/operating.md tells to use it, with a real build."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import empty_database
from tests.containers import docker_engine
from tests.server import NOT_INHERITED
from tests.service import ROOT, Service

NAME = f"readme-test-{os.getpid()}"
TAG = f"custom-rce-{NAME}:latest"
# Small, of nothing but Python, and in need of nothing; the other one needs one that is not there.
PACKAGE, VERSION = "tinydb", "4.8.2"
NEEDS_ANOTHER = "python-slugify==8.0.4"
BUILD_SECONDS = 900
PROGRAM = f"""
import importlib.util, os
found = importlib.util.find_spec({PACKAGE!r})
print(found and found.loader.get_code({PACKAGE!r}).co_filename)
print(bool(found) and os.path.exists(found.cached))
import pandas
"""
ORIGIN = f"/opt/venv/lib/python3.11/site-packages/{PACKAGE}/__init__.py"


def script_image(directory: Path, name: str, *packages: str) -> subprocess.CompletedProcess[str]:
    (directory / "packages.txt").write_text("".join(f"{line}\n" for line in packages))
    return subprocess.run(
        ["script/image", name, str(directory / "packages.txt")],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key not in NOT_INHERITED},
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )


def inspected(tag: str) -> dict[str, Any]:
    command = ["docker", "image", "inspect", tag]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    [found] = json.loads(done.stdout)
    result: dict[str, Any] = found
    return result


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What script/image says in the end: the setting that names the image."""
    docker_engine()
    done = script_image(tmp_path_factory.mktemp("image"), NAME, f"{PACKAGE}=={VERSION}")
    assert done.returncode == 0, done.stdout + done.stderr
    setting = re.search(r"SANDBOX_IMAGES=(\S+)", done.stdout)
    assert setting, done.stdout
    yield setting[1]
    subprocess.run(["docker", "rmi", TAG], capture_output=True, check=True)


def test_a_key_s_programs_have_the_packages_of_its_image(built: str, tmp_path: Path) -> None:
    assert built == f"{NAME}={TAG}"
    with (
        empty_database(f"interpreter_further_{os.getpid()}") as url,
        Service(
            directory=tmp_path, database_url=url, settings={"SANDBOX_IMAGES": built}
        ) as service,
    ):
        key = service.manage("createapikey", "Science", "--image", NAME).split()[-1]
        assert run(service, key) == f"{ORIGIN}\nTrue\n"
        assert run(service, service.key) == "None\nFalse\n"
        [shown] = json.loads(service.manage("sandboxes", NAME, "--json"))
        assert shown["packages"][PACKAGE] == VERSION
        [default] = json.loads(service.manage("sandboxes", "default", "--json"))
        assert shown["packages"] == default["packages"] | {PACKAGE: VERSION}


def run(service: Service, key: str) -> str:
    answer = requests.post(
        f"{service.url}/exec",
        json={"lang": "py", "code": PROGRAM},
        headers={"X-API-Key": key},
        timeout=120,
    ).json()
    assert answer["stderr"] == "", answer
    printed: str = answer["stdout"]
    return printed


def test_it_is_one_layer_on_what_the_default_image_has(built: str) -> None:
    default = inspected((ROOT / "var" / "image").read_text().strip())
    further = inspected(TAG)
    layers = default["RootFS"]["Layers"]
    assert further["RootFS"]["Layers"][:-1] == layers
    assert further["Config"]["Entrypoint"] == default["Config"]["Entrypoint"]
    # And so nothing of how this host reaches its package index, which is in none of these.
    assert further["Config"]["Env"] == default["Config"]["Env"]
    command = ["docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", TAG]
    history = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "host-ca" not in history.split("LABEL interpreter.inputs", 1)[0]


def test_to_ask_again_builds_nothing(built: str, tmp_path: Path) -> None:
    before = inspected(TAG)["Id"]
    done = script_image(tmp_path, NAME, f"{PACKAGE}=={VERSION}")
    assert (done.returncode, inspected(TAG)["Id"]) == (0, before), done.stderr
    assert "Building" not in done.stdout


@pytest.mark.parametrize(
    ("package", "said"),
    [
        ("numpy==1.26.4", "constraint"),
        (NEEDS_ANOTHER, "requires text-unidecode, which is not installed"),
    ],
)
def test_what_would_break_the_image_is_not_built(tmp_path: Path, package: str, said: str) -> None:
    docker_engine()
    before = left_by_builds()
    name = f"{NAME}-refused"
    done = script_image(tmp_path, name, package)
    assert done.returncode == 1
    assert said in done.stderr, done.stderr
    assert "could not be built" in done.stderr
    command = ["docker", "image", "inspect", f"custom-rce-{name}:latest"]
    assert subprocess.run(command, capture_output=True, check=False).returncode
    assert left_by_builds() <= before


def left_by_builds() -> set[str]:
    """Containers in which a further image's packages were to be installed."""
    command = ["docker", "ps", "--all", "--no-trunc", "--filter", "status=exited"]
    command += ["--format", "{{.ID}} {{.Command}}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {line for line in done.stdout.splitlines() if "/build/packages.txt" in line}


@pytest.mark.parametrize("name", ["Science", "../up", "kernel"])
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    done = script_image(tmp_path, name, f"{PACKAGE}=={VERSION}")
    assert done.returncode == 1
    assert "name" in done.stderr
