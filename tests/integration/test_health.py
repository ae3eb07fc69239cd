"""Each part of the service is broken for real: /health/ready says which it is, and that it is well
again when it has been mended. /health stays what it is."""

from __future__ import annotations

import resource
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from django.conf import settings

from tests.engines import PrivateEngine
from tests.outages import STORE_MB, Place, place_of_its_own, postgres
from tests.service import wait_until

# Long enough that a run of the keeper's is not too old just because the machine is busy.
RUN_SECONDS = 60
# For it to be made again, and for a pool to be.
SECONDS = 180
KEPT = "kept-while-broken:latest"


@dataclass(frozen=True)
class Watched(Place):
    def ask(self) -> dict[str, Any]:
        response = requests.get(self.service.url + "/health/ready", timeout=60)
        answer: dict[str, Any] = response.json()
        assert (response.status_code == 200) == (answer["status"] == "ready")
        assert answer.keys() == {"status", "parts"}
        return answer

    def failing(self) -> set[str]:
        return {part for part, word in self.ask()["parts"].items() if word not in ("ok", "busy")}

    def wait_until_ready(self) -> None:
        wait_until(lambda: self.ask()["status"] == "ready", seconds=SECONDS)

    def wait_until_failing(self, part: str) -> None:
        wait_until(lambda: part in self.failing(), seconds=SECONDS)
        assert requests.get(self.service.url + "/health", timeout=60).status_code == 200

    def docker(self, *arguments: str) -> None:
        assert self.engine.command(*arguments) == 0, arguments


@pytest.fixture(scope="module")
def shared(
    private_engine: PrivateEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    settings = {"HEALTH_RUN_SECONDS": str(RUN_SECONDS), "WEB_WORKERS": "1"}
    with place_of_its_own(private_engine, tmp_path_factory.mktemp("health"), settings) as place:
        yield Watched(**vars(place))


@pytest.fixture
def place(shared: Watched) -> Watched:
    shared.wait_until_ready()
    return shared


def test_it_is_ready_and_nobody_has_run_anything(place: Watched) -> None:
    assert set(place.ask()["parts"]) == {
        "database", "engine", "image", "store", "descriptors", "clock", "keeper", "run",
    }  # fmt: skip
    rows = "print(Execution.objects.count(), SandboxSession.objects.count())"
    # One that is under way has its rows.
    wait_until(lambda: place.service.sql(rows).split() == ["0", "0"])


def test_an_engine_that_is_down(place: Watched) -> None:
    place.engine.kill()
    try:
        place.wait_until_failing("engine")
    finally:
        place.engine.start()
    place.wait_until_ready()


def test_a_database_that_is_down(place: Watched) -> None:
    postgres("stop", place.database)
    try:
        place.wait_until_failing("database")
    finally:
        postgres("start", place.database)
    place.wait_until_ready()


def test_a_store_that_is_full(place: Watched) -> None:
    filler = place.disk / "filler"
    # It is told that there was no room for all of it, as there is not on an empty disk either.
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes((STORE_MB + 1) * 1024 * 1024))
    try:
        place.wait_until_failing("store")
    finally:
        filler.unlink()
    place.wait_until_ready()


def test_a_store_that_is_read_only(place: Watched) -> None:
    # A file that is being written to would keep the whole disk writable: then once more.
    remount = ["mount", "-o", "remount,ro", str(place.disk)]
    wait_until(lambda: subprocess.run(remount, check=False, capture_output=True).returncode == 0)
    try:
        place.wait_until_failing("store")
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(place.disk)], check=True)
    place.wait_until_ready()


def test_descriptors_that_are_used_up(place: Watched) -> None:
    assert place.service.api
    listed = subprocess.run(
        ["pgrep", "--parent", str(place.service.api.popen.pid)],
        capture_output=True,
        text=True,
        check=True,
    )
    (worker,) = map(int, listed.stdout.split())
    used = len(list(Path(f"/proc/{worker}/fd").iterdir()))
    before = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    # The soft limit, which is what counts and can be raised again.
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (used + 32, before[1]))
    try:
        place.wait_until_failing("descriptors")
    finally:
        resource.prlimit(worker, resource.RLIMIT_NOFILE, before)
    place.wait_until_ready()


def test_an_image_that_is_missing(place: Watched) -> None:
    image = settings.SANDBOX_IMAGE
    place.docker("tag", image, KEPT)
    place.docker("rmi", image)
    try:
        place.wait_until_failing("image")
    finally:
        place.docker("tag", KEPT, image)
    place.docker("rmi", KEPT)
    place.wait_until_ready()


def test_an_image_whose_containers_end_at_once(place: Watched) -> None:
    """Database, engine, image and store look well, and runs fail."""
    image = settings.SANDBOX_IMAGE
    place.docker("tag", image, KEPT)
    place.docker("create", "--name", "broken", image)
    place.docker("commit", "--change", 'ENTRYPOINT ["/bin/false"]', "broken", image)
    place.docker("rm", "broken")
    try:
        place.wait_until_failing("run")
        assert not place.failing() & {"database", "engine", "image", "store", "descriptors"}
    finally:
        place.docker("tag", KEPT, image)
    place.docker("rmi", KEPT)
    place.wait_until_ready()


def test_a_keeper_that_hangs(place: Watched) -> None:
    """Its last run was right, and is too old to say anything."""
    assert place.service.keeper
    place.service.keeper.send(signal.SIGSTOP)
    try:
        place.wait_until_failing("run")
        assert place.ask()["parts"]["run"] == "too old"
    finally:
        place.service.keeper.send(signal.SIGCONT)
    place.wait_until_ready()
