"""`docker compose up` as an operator runs it, in a copy of the checkout: built, started, used
through its port, restarted piece by piece, saved and restored, updated, taken down and up again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from django.conf import settings

from tests.containers import docker_engine
from tests.service import ROOT, free_port, wait_until

# What the images are made of.
CONTEXT = (
    "compose.yaml", "Dockerfile.api", "Dockerfile.rce", "requirements.txt", "rce_requirements.txt",
    ".dockerignore", "manage.py", "interpreter_site", "keys", "audit", "sandbox", "image", "deploy",
)  # fmt: skip
POSTGRES = "postgres:16-bookworm"
CALL_SECONDS = 900


def compose_command() -> list[str]:
    if subprocess.run(
        ["docker", "compose", "version"], capture_output=True, check=False
    ).returncode:
        assert shutil.which("docker-compose"), "no compose; script/bootstrap --dev installs one"
        return ["docker-compose"]
    return ["docker", "compose"]


class Project:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.name = f"interpreter-test-{os.getpid()}"
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self.key = ""
        self._command = compose_command()
        self._environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": self.name,
            "SANDBOX_INSTALLATION": self.name,
            "PORT": str(port),
            "SANDBOX_POOL_SIZE": "1",
            # The classic builder is the one that every engine has.
            "DOCKER_BUILDKIT": "0",
            "COMPOSE_DOCKER_CLI_BUILD": "0",
            "POSTGRES_IMAGE": postgres_image(),
        }

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=self.directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=CALL_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:] + self.logs()
        return done.stdout

    def logs(self) -> str:
        command = [*self._command, "logs", "--tail=20"]
        done = subprocess.run(
            command, cwd=self.directory, env=self._environment, capture_output=True, check=False
        )
        return done.stdout.decode(errors="replace")

    @contextmanager
    def variables(self, **changes: str) -> Iterator[None]:
        before = dict(self._environment)
        self._environment |= changes
        yield
        self._environment = before

    def script(self, *command: str, fails: bool = False) -> str:
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=CALL_SECONDS,
            check=False,
        )
        said = done.stdout[-3000:] + done.stderr[-3000:]
        assert (done.returncode != 0) == fails, said
        return said

    def up(self) -> None:
        self("up", "--detach")
        wait_until(self.answers, seconds=120)

    def answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def manage(self, *arguments: str) -> str:
        return self("exec", "-T", "api", "python", "manage.py", *arguments)

    def post(self, body: dict[str, Any]) -> requests.Response:
        headers = {"X-API-Key": self.key, "User-Agent": "LibreChat/1.0"}
        return requests.post(f"{self.url}/run/exec/exec", json=body, headers=headers, timeout=120)

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, headers={"X-API-Key": self.key}, timeout=60)

    def run(self, code: str, **body: Any) -> dict[str, Any]:
        response = self.post({"lang": "py", "code": code, **body})
        assert response.status_code == 200, response.text + self.logs()
        answer: dict[str, Any] = response.json()
        return answer

    def container(self, service: str) -> dict[str, Any]:
        identifier = self("ps", "--quiet", service).strip()
        listed = docker("inspect", identifier)
        (found,) = json.loads(listed)
        result: dict[str, Any] = found
        return result

    def sandboxes(self) -> list[str]:
        label = f"label=interpreter.installation={self.name}"
        return docker("ps", "--all", "--quiet", "--filter", label).split()


def docker(*arguments: str) -> str:
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=False, timeout=CALL_SECONDS
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def as_librechat(base_url: str, *where: str) -> dict[str, str]:
    """What a program of node's gets from the interpreter, in a container beside it."""
    program = """
const url = new URL(process.argv[1] + '/exec');
const login = Buffer.from(`${url.username}:${url.password}`).toString('base64');
url.username = url.password = '';
const headers = {'Content-Type': 'application/json', Authorization: `Basic ${login}`};
const body = JSON.stringify({lang: 'py', code: 'print(6 * 7)'});
fetch(url, {method: 'POST', headers, body}).then(answer => answer.text()).then(console.log);
"""
    image = settings.SANDBOX_IMAGE
    run = ("run", "--rm", *where, "--user=10001:10001", "--entrypoint=node", image)
    answer = json.loads(docker(*run, "-e", program, base_url))
    return {name: answer[name] for name in ("stdout", "stderr")}


def postgres_image() -> str:
    """The real one if it can be had, else one that is built from Debian's packages."""
    for command in ("image inspect", "pull --quiet"):
        arguments = ["docker", *command.split(), POSTGRES]
        if not subprocess.run(arguments, capture_output=True, check=False).returncode:
            return POSTGRES
    image = "interpreter-test-postgres:latest"
    directory = str(Path(__file__).parent / "postgres")
    subprocess.run(
        ["docker", "build", "--quiet", "--network", "host", "--tag", image, directory],
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
        capture_output=True,
        check=True,
    )
    return image


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    docker_engine()
    directory = tmp_path_factory.mktemp("checkout")
    for name in CONTEXT:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, directory / name)
    # As script/bootstrap does it, for a host behind a TLS-inspecting proxy.
    certificates = Path(os.environ.get("PIP_CERT") or "/etc/ssl/certs/ca-certificates.crt")
    if certificates.exists():
        shutil.copy2(certificates, directory / "host-ca.crt")
    project = Project(directory)
    try:
        # The sandbox image is the one that all tests use: it takes minutes to build.
        project("build", "secrets", "engine-proxy")
        project.up()
        project.key = project.manage("createapikey", "LibreChat").split()[-1]
        yield project
    finally:
        project("down", "--volumes")


def test_a_program_runs_through_the_published_port(project: Project) -> None:
    answer = project.run("print(6 * 7); open('kept.txt', 'w').write('kept')")
    assert (answer["stdout"], answer["stderr"]) == ("42\n", "")
    assert [file["name"] for file in answer["files"]] == ["kept.txt"]


def test_only_the_api_can_be_reached_from_outside(project: Project) -> None:
    published = {
        service: list(project.container(service)["HostConfig"]["PortBindings"] or {})
        for service in ("api", "keeper", "db", "engine-proxy")
    }
    assert published == {"api": ["8000/tcp"], "keeper": [], "db": [], "engine-proxy": []}


def test_it_is_ready_and_shows_its_metrics_to_the_network_only(project: Project) -> None:
    ready = f"{project.url}/health/ready"
    wait_until(lambda: requests.get(ready, timeout=60).status_code == 200, seconds=180)
    assert requests.get(f"{project.url}/metrics", timeout=60).status_code == 404
    ask = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())"
    for service, other, name in (
        ("keeper", "api:9464", "interpreter_ready 1.0"),
        ("api", "keeper:9465", "interpreter_canary_runs_total"),
    ):
        url = f"http://{other}/metrics"
        assert name in project("exec", "-T", service, "python", "-c", ask, url)


@pytest.mark.parametrize("service", ["api", "keeper", "engine-proxy"])
def test_what_runs_has_no_rights(project: Project, service: str) -> None:
    host = project.container(service)["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert not host["Privileged"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["Memory"] > 0
    assert [option for option in host["SecurityOpt"] if "no-new-privileges" in option]


def test_the_api_is_nobody_and_has_the_proxy_instead_of_the_engine(project: Project) -> None:
    probe = """
import http.client, os, re, socket
status = open("/proc/self/status").read()
print(os.getuid(), os.getgid(), re.search(r"CapEff:\\s+(\\w+)", status)[1],
      re.search(r"NoNewPrivs:\\s+(\\d)", status)[1], os.path.exists("/var/run/docker.sock"))
for target in ("/_ping", "/images/json"):
    connection = http.client.HTTPConnection("engine")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect("/run/engine/docker.sock")
    connection.request("GET", target)
    print(connection.getresponse().status)
try:
    open("/srv/interpreter/new", "w")
except OSError as error:
    print(error.strerror)
"""
    for service in ("api", "keeper"):
        said = project("exec", "-T", service, "python", "-c", probe).splitlines()
        assert said == [
            "10010 10010 0000000000000000 1 False", "200", "403", "Read-only file system",
        ]  # fmt: skip


def test_nothing_has_a_default_password(project: Project) -> None:
    listed = project("exec", "-T", "api", "sh", "-c", "cd /run/secrets/interpreter; wc -c *")
    sizes = {line.split()[1]: int(line.split()[0]) for line in listed.splitlines()}
    assert sizes["secret-key"] == 80
    assert sizes["database-password"] == 40
    environment = "".join(project.container("api")["Config"]["Env"])
    secret = project("exec", "-T", "api", "cat", "/run/secrets/interpreter/secret-key")
    assert secret.strip() not in environment
    project.key, key = "lci_wrong", project.key
    try:
        assert project.post({"lang": "py", "code": "print(1)"}).status_code == 401
    finally:
        project.key = key


@pytest.mark.parametrize("service", ["engine-proxy", "db", "keeper", "api"])
def test_each_part_can_be_restarted(project: Project, service: str) -> None:
    before = project.run("open('kept.txt', 'w').write('kept')")
    project("restart", service)
    deadline = time.monotonic() + 60
    while True:
        try:
            answer = project.post(
                {"lang": "py", "code": "print(open('kept.txt').read())",
                 "session_id": before["session_id"]}
            )  # fmt: skip
        except requests.ConnectionError:
            pass
        else:
            if answer.status_code == 200:
                break
            assert answer.status_code in (429, 503), answer.text
        assert time.monotonic() < deadline, project.logs()
        time.sleep(0.5)
    assert answer.json()["stdout"] == "kept\n"


def test_it_answers_under_the_name_that_a_container_has_for_its_host(project: Project) -> None:
    port = project.url.rpartition(":")[2]
    base_url = f"http://any:{project.key}@host.docker.internal:{port}/run/exec"
    host = ("--add-host", "host.docker.internal:host-gateway")
    assert as_librechat(base_url, *host) == {"stdout": "42\n", "stderr": ""}


def test_librechat_beside_it_finds_its_interpreter(project: Project) -> None:
    """LibreChat's own image cannot be had everywhere: what it is told is tried from where it is."""
    both = ("-f", "compose.yaml", "-f", "deploy/librechat/compose.yaml")
    names = ("CREDS_KEY", "CREDS_IV", "JWT_SECRET", "JWT_REFRESH_SECRET")
    with project.variables(INTERPRETER_KEY=project.key, **dict.fromkeys(names, "0")):
        made = yaml.safe_load(project(*both, "config"))
    librechat = made["services"]["librechat"]
    assert set(librechat["networks"]) == {"front", "chats"}
    base_url = librechat["environment"]["LIBRECHAT_CODE_BASEURL"]
    network = f"--network={project.name}_front"
    assert as_librechat(base_url, network) == {"stdout": "42\n", "stderr": ""}


def test_a_backup_brings_everything_back(project: Project, tmp_path: Path) -> None:
    before = project.run("open('kept.txt', 'w').write('kept')")
    project.script("deploy/backup", str(tmp_path))
    (file,) = before["files"]
    later = project.run("print(1)")
    refused = project.script("deploy/restore", str(tmp_path), fails=True)
    assert "--yes" in refused
    # Nothing is lost to a backup that is none.
    (broken := tmp_path / "broken").mkdir()
    (broken / "database.dump").write_bytes(b"no dump")
    project.script("deploy/restore", str(broken), "--yes", fails=True)
    assert project.run("", session_id=later["session_id"])["session_id"] == later["session_id"]

    project("down", "--volumes")
    project.up()
    assert project.post({"lang": "py", "code": ""}).status_code == 401
    project.script("deploy/restore", str(tmp_path), "--yes")
    wait_until(project.answers, seconds=120)
    answer = project.run("print(open('kept.txt').read())", session_id=before["session_id"])
    assert answer["stdout"] == "kept\n"
    downloaded = project.get(f"/download/{file['session_id']}/{file['id']}")
    assert (downloaded.status_code, downloaded.content) == (200, b"kept")
    # What came after the backup is not in it.
    fresh = project.run("", session_id=later["session_id"])
    assert fresh["session_id"] != later["session_id"]


def test_an_update_keeps_the_data(project: Project) -> None:
    before = project.run("open('kept.txt', 'w').write('kept')")
    old = project.container("api")["Image"]
    # As a newer version of ours comes.
    module = project.directory / "sandbox" / "__init__.py"
    module.write_text(module.read_text() + "VERSION = 'newer'\n")
    project("build", "migrate", "api", "keeper")
    project.up()
    assert project.container("api")["Image"] == project.container("keeper")["Image"] != old
    found = project("exec", "-T", "api", "python", "-c", "import sandbox; print(sandbox.VERSION)")
    assert found == "newer\n"
    answer = project.run("print(open('kept.txt').read())", session_id=before["session_id"])
    assert answer["stdout"] == "kept\n"


def test_taken_down_it_leaves_no_container_and_comes_back_with_everything(
    project: Project,
) -> None:
    before = project.run("open('kept.txt', 'w').write('kept')")
    assert project.sandboxes()
    project("down")
    assert project.sandboxes() == []
    project.up()
    answer = project.run("print(open('kept.txt').read())", session_id=before["session_id"])
    assert answer["stdout"] == "kept\n"
