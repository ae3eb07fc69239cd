"""The calls that `manage.py librechat` plays are those that the real client sends."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from keys.public_keys import DEFAULT_KID
from sandbox.findings import Finding, Level
from sandbox.librechat.calls import OF_SKILL, Calls, File
from sandbox.librechat.lines import Pair, base_url
from sandbox.librechat.playing import SKILL, play
from sandbox.librechat.releases import Release as PlayedRelease
from sandbox.librechat.tokens import sign
from tests.librechat.client import LibreChat
from tests.librechat.conftest import Connect
from tests.librechat.conversation import Conversation
from tests.librechat.recorder import Recorder, Seen
from tests.librechat.refs import Scope
from tests.librechat.releases import RELEASES, Release
from tests.service import Service

KEY = "lci_0123456789_and_more"
CODE = "print(1 + 2)"


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder


def really_sent(client: LibreChat, recorder: Recorder) -> list[Seen]:
    """A file, a run that has it and writes another one, and what the release does besides."""
    release = client.release
    file = client.upload("sales.csv", b"a,b\n")
    client.freshness(file)
    conversation = Conversation(client, client.ref(file))
    answer = conversation.run("py" if release.sends_key else "bash", CODE)
    client.download(conversation.stored(answer, "out.txt"))
    if not release.sends_key:
        client.upload_skill(SKILL, Scope(OF_SKILL.kind, OF_SKILL.id, OF_SKILL.version))
        if release.profile:
            client.is_alive(file)
        client.delete(file, *(["files"] if release.profile else []))
    return recorder.take()


def played(calls: Calls, recorder: Recorder) -> list[Seen]:
    answer = calls.upload("sales.csv", b"a,b\n").json()
    session_id = answer["session_id" if calls.release.sends_key else "storage_session_id"]
    file = File(session_id, answer["files"][0]["fileId"], "sales.csv")
    calls.freshness(file)
    ran = calls.run("bash" if calls.release.runs_bash else "py", CODE, file).json()
    calls.download(File(ran["session_id"], ran["files"][0]["id"], "out.txt"))
    if calls.release.has_batches:
        calls.upload_skill(SKILL)
        if calls.release.asks_listing_again:
            calls.is_alive(file)
        calls.delete(file)
    return recorder.take()


@pytest.mark.parametrize("path", ["/run/exec", "/v1", ""])
@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_the_calls_are_those_of_the_real_client(
    connect: Connect, recorder: Recorder, release: Release, path: str
) -> None:
    version = PlayedRelease.of(release.librechat)
    assert (version.sends_key, version.expects_profile) == (
        release.sends_key,
        bool(release.profile),
    )
    url = base_url(version, recorder.url + (path or "/"), KEY)
    url = url if path else url.removesuffix("/run/exec")
    key = KEY if release.sends_key else ""
    real = really_sent(connect(release, url, key), recorder)
    ours = played(Calls(version, url, key=key), recorder)
    assert ours == real
    sent = real[0].headers.get("x-api-key") or real[0].headers["authorization"]
    assert sent in (KEY, "Basic " + base64.b64encode(f"any:{KEY}".encode()).decode())


def failed(found: Iterator[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.level != Level.OK]


@pytest.mark.parametrize("version", ["0.7.5", "0.7.6", "0.8.5", "0.8.6", "0.8.8", "newest"])
def test_all_of_them_work_with_this_server(service: Service, version: str) -> None:
    output = service.manage(
        "librechat", version, "--base-url", service.url, "--api-key", service.key
    )
    assert output.startswith(f"# LibreChat {version}: ")
    lines = [line for line in output.splitlines() if ": " in line and line[:4].strip() == "ok"]
    assert any(line.endswith("out.txt, 1 byte") for line in lines)
    assert ("call.upload" in output) == (version != "0.7.5")
    assert ("call.skill" in output) == (version in ("0.8.6", "0.8.8", "newest"))


def test_signed_calls_work_once_the_issuer_is_registered(service: Service) -> None:
    output = service.manage(
        "librechat",
        "0.8.6",
        "--jwt",
        "--issuer",
        "Played",
        "--base-url",
        service.url,
    )
    assert "CODEAPI_JWT_ENABLED=true" in output
    assert "call.delete: gone" in output


def test_it_says_what_does_not_work(service: Service) -> None:
    for version in ("0.8.5", "0.8.6"):
        release = PlayedRelease.of(version)
        url = base_url(release, service.url, KEY)
        [finding] = failed(play(Calls(release, url, key=KEY)))
        assert finding.check == "call.upload"
        assert finding.text.startswith("401")
        assert KEY not in repr(finding)
    [finding] = failed(play(Calls(PlayedRelease.of("0.8.6"), "http://any:secret@127.0.0.1:9")))
    assert "no answer" in finding.text
    assert "secret" not in repr(finding)


def test_a_token_of_another_key_is_refused(service: Service) -> None:
    token = sign(
        Pair.new().private,
        algorithm="EdDSA",
        kid=DEFAULT_KID,
        issuer="librechat",
        audience="codeapi",
        ttl_seconds=300,
    )
    calls = Calls(PlayedRelease.of("0.8.6"), service.url, token=token)
    [finding] = failed(play(calls))
    assert finding.text.startswith("401")
