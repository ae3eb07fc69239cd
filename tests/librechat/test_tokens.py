"""LibreChat 0.8.6 and later with CODEAPI_JWT_ENABLED: no key anywhere, each call signed."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.librechat.client import LibreChat
from tests.librechat.conversation import Conversation
from tests.librechat.process import CallFailed
from tests.librechat.refs import ALICE, BOB, Scope, StoredFile
from tests.librechat.releases import SENDING_NO_KEY, Release
from tests.service import Service
from tests.tokens import Signer

Connect = Callable[..., LibreChat]
releases = pytest.mark.parametrize("release", SENDING_NO_KEY, ids=str)


@pytest.fixture(scope="module")
def signer(service: Service) -> Signer:
    """Whose issuer the operator has made in the admin."""
    signer = Signer()
    service.manage(
        *("shell", "-v0", "-c"),
        f"from keys.models import Issuer\n"
        f"Issuer.objects.create(name='Signing chat', public_keys={signer.pem!r})",
    )
    return signer


@pytest.fixture
def connect(service: Service, signer: Signer) -> Iterator[Connect]:
    """A LibreChat in the hands of one user."""
    with ExitStack() as started:

        def start(release: Release, user: str = ALICE, **claims: Any) -> LibreChat:
            token = signer.mint(user, **claims)
            return started.enter_context(LibreChat(release, service.url, token=token))

        yield start


@releases
def test_all_of_a_conversation_is_its_users(
    release: Release, connect: Connect, service: Service
) -> None:
    client = connect(release)
    data = client.upload("in.txt", b"through")
    assert client.freshness(data)
    assert client.is_alive(data)
    conversation = Conversation(client, client.ref(data))
    answer = conversation.run("bash", "cat in.txt > out.txt")
    assert conversation.delivered(answer) == {"out.txt": b"through"}
    second = conversation.run("bash", "cat out.txt")
    assert second.text.startswith("stdout:\nthrough")
    made = conversation.stored(answer, "out.txt")
    assert client.read_text("out.txt", made.new_ref()) == "through"
    # bash_tool names no user; the token does.
    found = service.sql(
        f"run = Execution.objects.get(session={answer.session_id!r})\n"
        "print(run.key.name, run.user_id, sep='|')"
    )
    assert found.strip() == f"Signing chat: tenant legacy|{ALICE}"
    assert client.delete(data) == [200]


@releases
def test_another_user_has_nothing_of_it(release: Release, connect: Connect) -> None:
    ann, bob = connect(release), connect(release, BOB)
    data = ann.upload("in.txt", b"of ann")
    conversation = Conversation(ann, ann.ref(data))
    made = conversation.stored(conversation.run("bash", "echo of ann > out.txt"), "out.txt")
    for file in (data, made):
        with pytest.raises(CallFailed) as failed:
            bob.download(file)
        assert failed.value.status == 404
        answer = Conversation(bob, bob.ref(file), user=BOB).run("bash", f"cat {file.name}")
        assert "of ann" not in answer.text


@releases
def test_a_skill_is_all_its_tenants(release: Release, connect: Connect) -> None:
    scope = Scope("skill", "65f0c0ffee0123456789abff", version=2)
    (skill,) = connect(release).upload_skill({"skills/pdf/SKILL.md": b"how to"}, scope)
    bob, stranger = connect(release, BOB), connect(release, BOB, tenant_id="acme")
    answer = Conversation(bob, skill.new_ref(), user=BOB).run("bash", "cat skills/pdf/SKILL.md")
    assert answer.text == "stdout:\nhow to"
    answer = Conversation(stranger, skill.new_ref(), user=BOB).run(
        "bash", "cat skills/pdf/SKILL.md"
    )
    assert "how to" not in answer.text


@releases
def test_a_token_of_somebody_else_is_refused(
    release: Release, service: Service, signer: Signer
) -> None:
    absent = StoredFile("V1StGXR8_Z5jdHi6B-myT", "Zk3pQ0x9aB_7cDeFgHiJ1", "absent")
    with LibreChat(release, service.url, token=Signer().mint()) as client:
        assert Conversation(client).run("py", "print(1)").failed
        with pytest.raises(CallFailed) as failed:
            client.freshness(absent)
        assert (failed.value.status, failed.value.body["error"]) == (401, "Invalid bearer token")
