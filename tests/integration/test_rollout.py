"""Another build of the image under the same name, on a real engine with a real keeper."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest
from django.conf import settings

from tests.conftest import empty_database
from tests.containers import docker_engine
from tests.service import Service, wait_until

TAG = f"custom-rce-rolling:{os.getpid()}"


@pytest.fixture(scope="module")
def rolling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose image has a name of its own."""
    docker_engine()
    client = docker.from_env()
    client.images.get(settings.SANDBOX_IMAGE).tag(TAG)
    directory = tmp_path_factory.mktemp("rolling")
    own = {"SANDBOX_IMAGE": TAG, "SANDBOX_IMAGES": f"same={TAG}"}
    try:
        with (
            empty_database(f"interpreter_rolling_{os.getpid()}") as url,
            Service(directory=directory, database_url=url, settings=own) as service,
        ):
            yield service
    finally:
        client.images.remove(TAG, force=True)
        client.close()


def add_a_package() -> str:
    """As a rebuild after a line more in rce_requirements.txt does; the new build's id."""
    site = "/opt/venv/lib/python3.11/site-packages"
    dockerfile = (
        f"FROM {TAG}\n"
        f"RUN echo 'VERSION = 7' > {site}/brand_new.py && mkdir {site}/brand_new-7.dist-info && "
        f"printf 'Metadata-Version: 2.1\\nName: brand-new\\nVersion: 7\\n' "
        f"> {site}/brand_new-7.dist-info/METADATA\n"
    )
    with closing(docker.from_env()) as client:
        image, _ = client.images.build(fileobj=io.BytesIO(dockerfile.encode()), tag=TAG, rm=True)
    return str(image.id)


def builds(service: Service) -> set[str]:
    """Of what runs; in one question, as containers come and go."""
    label = f"interpreter.installation={service.environment['SANDBOX_INSTALLATION']}"
    with closing(docker.from_env()) as client:
        running = client.api.containers(filters={"label": label})
    return {container["ImageID"] for container in running}


def test_a_new_package_gets_to_everybody_without_an_error(rolling: Service) -> None:
    program = "import importlib.util; print(importlib.util.find_spec('brand_new') is not None)"
    first = rolling.run("open('kept.txt', 'w').write('kept')\n" + program)
    assert first["stdout"] == "False\n"
    build = add_a_package()
    # Whoever comes meanwhile is served, from the one or the other.
    assert rolling.run(program)["code"] == 0
    wait_until(lambda: builds(rolling) == {build}, seconds=120)
    again = rolling.run(
        "import brand_new; print(brand_new.VERSION, open('kept.txt').read())",
        session_id=first["session_id"],
    )
    assert again["stdout"] == "7 kept\n", again
    [shown] = json.loads(rolling.manage("sandboxes", "default", "--json"))
    assert shown["id"] == build
    assert shown["packages"]["brand-new"] == "7"
    assert shown["packages"]["pandas"]
    assert shown["keys"] == ["tests"]
    assert shown["containers"]["older"] == 0
    assert "Noto Sans CJK SC" in shown["fonts"]
    # A database server is what is left out on purpose.
    assert shown["missing"] == ["chdb"]


def test_it_is_shown_for_people_as_well(rolling: Service, tmp_path: Path) -> None:
    text = rolling.manage("sandboxes", "same", "--missing")
    assert text.startswith(f"same: {TAG}\n")
    assert "\n  missing: chdb\n" in text
    assert "numpy" in text
    assert "cheerio" in text
