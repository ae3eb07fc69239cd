"""deploy/engine-proxy between the interpreter and the engine: all that the interpreter does goes
through, and nothing else."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest
from django.conf import settings
from docker.utils import kwargs_from_env, parse_host

from audit.ids import new_id
from sandbox.confinement import confinement
from sandbox.engines.docker import INSTALLATION_LABEL, DockerEngine
from sandbox.errors import EngineUnavailable
from tests.conftest import empty_database
from tests.containers import MB, Sandbox, docker_engine
from tests.service import ROOT, Process, Service, wait_until

CONFIGURATION = ROOT / "deploy" / "engine-proxy" / "haproxy.cfg"
UNIX = "http+unix://"
OURS = "interpreter-aaaaaaaaaaaaaaaaaaaaa"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its socket's path."""
    docker_engine()
    engine = str(parse_host(kwargs_from_env().get("base_url")))
    if not engine.startswith(UNIX):
        pytest.skip("NOT tested, the engine has no socket here: deploy/engine-proxy")
    haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if haproxy is None:
        pytest.fail("haproxy is missing; script/bootstrap --dev installs it")
    # A socket's path has to be short.
    directory = Path(tmp_path_factory.mktemp("proxy"))
    path = str(directory / "engine.sock")
    environment = {
        **os.environ,
        "ENGINE_SOCKET": engine.removeprefix(UNIX),
        "PROXY_SOCKET": path,
        "PROXY_GID": str(os.getgid()),
    }
    command = [haproxy, "-W", "-db", "-f", str(CONFIGURATION)]
    process = Process(command, environment, directory / "log")
    try:
        wait_until(Path(path).exists, seconds=20)
        yield path
    finally:
        process.kill()


@pytest.fixture
def engine(proxy: str, monkeypatch: pytest.MonkeyPatch) -> DockerEngine:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{proxy}")
    return DockerEngine()


def ask(proxy: str, method: str, target: str) -> tuple[int, str]:
    """In one piece, as what is refused is answered and closed before all of it is read."""
    with closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.connect(proxy)
        head = f"{method} {target} HTTP/1.1\r\nHost: engine\r\nContent-Type: application/json"
        connection.sendall(f"{head}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        return answer.status, answer.read().decode()


def test_a_containers_whole_life_goes_through(engine: DockerEngine) -> None:
    name = f"interpreter-{new_id()}"
    labels = {INSTALLATION_LABEL: settings.SANDBOX_INSTALLATION}
    engine.ping()
    engine.create(name, labels=labels, confinement=confinement())
    try:
        sandbox = Sandbox(engine, name)
        with sandbox.attach() as channel:
            channel.hello(timeout=60, hot_within=30)
        engine.limit_cpu(name, 2.0)
        assert name in [info.name for info in engine.list()]
        sandbox.put({"in.bin": b"x" * (5 * MB)})
        assert sandbox.output("print(len(open('in.bin').read()))") == f"{5 * MB}\n"
        flood = sandbox.run("print('y' * 3_000_000)", output_bytes=5 * MB)
        assert len(flood.stdout) == 3_000_001
        # More of them than would do if one that was given up stayed.
        for number in range(30):
            assert sandbox.output(f"print({number})") == f"{number}\n"
        assert engine.death(name) is None
    finally:
        engine.remove(name)
    assert engine.death(name) is not None


def test_the_service_runs_with_it(proxy: str, tmp_path: Path) -> None:
    settings = {"DOCKER_HOST": f"unix://{proxy}"}
    with (
        empty_database(f"interpreter_proxy_{os.getpid()}") as url,
        Service(directory=tmp_path, database_url=url, settings=settings) as service,
    ):
        assert service.run("print(6 * 7)")["stdout"] == "42\n"


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/images/json"),
        ("GET", "/v1.41/volumes"),
        ("GET", "/events"),
        ("GET", "/containers/other/json"),
        ("GET", f"/containers/{OURS}/logs"),
        ("GET", f"/containers/{OURS}/archive?path=/"),
        ("GET", f"/containers/{OURS}/../other/json"),
        ("GET", f"/containers/{OURS}%2f..%2fother/json"),
        ("GET", f"/v1.41/v1.41/containers/{OURS}/json"),
        ("GET", f"//containers/{OURS}/json"),
        ("POST", "/build"),
        ("POST", "/commit"),
        ("POST", "/images/create?fromImage=other"),
        ("POST", "/containers/create"),
        ("POST", "/containers/create?name=other"),
        ("POST", f"/containers/create?name={OURS}&name=other"),
        ("POST", f"/containers/create?name=other&x=name={OURS}"),
        ("POST", f"/containers/{OURS}/exec"),
        ("POST", "/exec/0123456789ab/start"),
        ("POST", "/containers/other/attach?stream=1"),
        ("POST", "/v1.41/containers/0123456789ab/kill"),
        ("POST", f"/containers/{OURS}/rename?name=other"),
        ("POST", f"/containers/{OURS}/copy"),
        ("POST", f"/containers/{OURS}/json"),
        ("POST", "/containers/prune"),
        ("POST", "/networks/create"),
        ("POST", "/volumes/create"),
        ("POST", "/swarm/init"),
        ("POST", "/session"),
        ("PUT", f"/containers/{OURS}/archive?path=/"),
        ("DELETE", "/containers/other"),
        ("DELETE", "/images/other"),
        ("PATCH", f"/containers/{OURS}"),
        ("OPTIONS", "/containers/json"),
    ],
)
def test_nothing_else_does(proxy: str, method: str, target: str) -> None:
    status, body = ask(proxy, method, target)
    assert status == 403
    assert "does not allow" in json.loads(body)["message"]


def test_what_is_refused_is_told_and_the_engine_itself_would_have_done_it(
    engine: DockerEngine,
) -> None:
    """So the refusal is the proxy's own."""
    name = f"other-{new_id()}"
    with pytest.raises(EngineUnavailable, match="does not allow this call"):
        engine.create(name, labels={}, confinement=confinement())
    with closing(docker.APIClient(base_url=os.environ["DOCKER_HOST"], version="1.41")) as client:
        for call in (client.images, client.volumes, lambda: client.exec_create(name, "id")):
            with pytest.raises(docker.errors.APIError, match="does not allow this call"):
                call()


def test_the_configuration_is_valid() -> None:
    haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    assert haproxy, "haproxy is missing; script/bootstrap --dev installs it"
    checked = subprocess.run(
        [haproxy, "-c", "-f", str(CONFIGURATION)],
        env={"ENGINE_SOCKET": "/x", "PROXY_SOCKET": "/y", "PROXY_GID": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stdout + checked.stderr
