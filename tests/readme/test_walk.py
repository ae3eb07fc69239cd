"""A new user clones the repository and types what the documents say, from top to bottom."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import snippets
from tests.containers import docker_engine
from tests.readme import commands
from tests.readme.clone import Clone, can_be_run
from tests.readme.elsewhere import ELSEWHERE
from tests.service import ROOT

IMAGE_INPUTS = ("Dockerfile.rce", "rce_requirements.txt", "image", "sandbox/runner")
START = "script/server"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    docker_engine()
    if not (ROOT / ".git").exists():
        pytest.skip("the walk is NOT done: this is no git checkout, so there is nothing to clone")
    clone = Clone(tmp_path_factory.mktemp("clone"))
    clone.make()
    try:
        assert commands.of(clone.path)[0] == START
        clone.start()
        yield clone
        assert clone.server.interrupt() == 130
        assert (clone.server.containers(), clone.server.processes()) == ([], [])
    finally:
        if clone.server.process and clone.server.process.poll() is None:
            clone.server.process.terminate()
            clone.server.process.wait(120)


def test_the_image_of_the_same_contents_is_not_built_again(clone: Clone) -> None:
    if changed := clone.differs(*IMAGE_INPUTS):
        pytest.skip(f"not committed, so the clone has an image of its own: {changed}")
    assert "Building the sandbox image" not in clone.printed


def test_every_command_does_what_is_said_of_it(clone: Clone) -> None:
    """One test, as each command goes on where the ones before it have ended."""
    said: dict[str, str] = {}
    keys: dict[str, str] = {}
    for command in commands.of(clone.path):
        if command == START or command in ELSEWHERE:
            continue
        assert can_be_run(command), f"{command}: see test_commands.py"
        said[command] = clone.run(command)
        match shlex.split(command, comments=True)[:3]:
            case ["script/manage", "createapikey", name]:
                keys[name] = said[command].strip()
                (clone.path.parent / "others_key").write_text(keys[name])
            case ["script/manage", "listapikeys"]:
                assert all(name in said[command] for name in keys)
            case ["script/manage", "rotateapikey", name]:
                # The former one is good for another day.
                assert said[command].strip() != keys[name]
                assert clone.status(said[command].strip()) == 200
                assert clone.status(keys[name]) == 200
            case ["script/manage", "revokeapikey", name]:
                assert clone.status(keys.pop(name)) == 401
            case ["script/manage", "doctor", *_]:
                assert ", 0 fail, " in said[command]
            case ["script/manage", "verifyaudit"]:
                assert re.search(r"^head: entry \d+ [0-9a-f]{64}$", said[command], re.MULTILINE)
            case ["script/attack", *_]:
                assert "1 passed, 0 failed" in said[command]
            case ["curl", *_]:
                answered(clone, said[command])
    assert len(keys) >= 3
    assert all(clone.status(key) == 200 for key in (clone.key, *keys.values()))
    signed_with(clone, said)


def answered(clone: Clone, printed: str) -> None:
    text = (clone.path / "README.md").read_text()
    [answer] = re.findall(r"\nanswers\n\n```json\n(.*?)```", text, re.DOTALL)
    snippets.assert_within(json.loads(answer), json.loads(printed))


def signed_with(clone: Clone, said: dict[str, str]) -> None:
    """The public key is the one of what LibreChat's .env gets, line ends and all."""
    [public] = [text for text in said.values() if text.startswith("-----BEGIN PUBLIC KEY")]
    [private] = [text for text in said.values() if text.startswith("-----BEGIN PRIVATE KEY")]
    assert "\n" not in private
    (clone.path.parent / "private.pem").write_text(private.replace("\\n", "\n"))
    assert clone.run("openssl pkey -pubout -in ../private.pem") == public
    # What that made is no more committed by accident than what the server keeps.
    assert clone.untracked() == ""


@pytest.mark.parametrize("proof", ["--key 'The walk'", "--jwt --issuer 'The walk'"])
def test_librechat_s_own_calls_work_as_the_example_shows(clone: Clone, proof: str) -> None:
    text = (clone.path / "README.md").read_text()
    example = re.findall(r"^ok   (call\.\w+): ", text, re.MULTILINE)
    printed = clone.run(f"script/manage librechat 0.8.6 {proof} --base-url http://localhost:8000")
    works = re.findall(r"^ok   (call\.\w+): ", printed, re.MULTILINE)
    assert works[: len(example)] == example != []


@pytest.mark.parametrize("language", snippets.WAYS)
def test_every_snippet_prints_what_is_below_it(clone: Clone, tmp_path: Path, language: str) -> None:
    text = (clone.path / commands.SNIPPETS).read_text()
    snippets.check(text, language, tmp_path, url=clone.server.url, key=clone.key)
