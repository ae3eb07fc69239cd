"""Where the server may be mounted, how the key may come, and what becomes of open connections."""

from urllib.parse import urlsplit

import pytest

from tests.librechat.client import LibreChat
from tests.librechat.conftest import Connect
from tests.librechat.conversation import Conversation
from tests.librechat.refs import ALICE, Scope, StoredFile
from tests.librechat.releases import NEWEST, RELEASES, SENDING_A_KEY, V0_8_5, Release, only

MOUNTS = ["/", "/v1", "/run/exec", "/run/exec/"]


def _works(client: LibreChat) -> None:
    """A run with an upload, and the way of its output back: every kind of call once."""
    data = client.upload("in.txt", b"through")
    assert client.freshness(data)
    conversation = Conversation(client, client.ref(data))
    answer = conversation.run("py", "open('out.txt', 'w').write(open('in.txt').read())")
    assert conversation.delivered(answer) == {"out.txt": b"through"}


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_the_api_is_found_under_every_mount(
    release: Release, mount: str, live_server_url: str, api_key: str, connect: Connect
) -> None:
    base_url = release.base_url(live_server_url, api_key) + mount
    client = connect(release, base_url, api_key if release.sends_key else "")
    _works(client)
    joined = "//" if mount.endswith("/") else "/"
    assert f"POST {mount.rstrip('/')}{joined}upload" in client.requests()


@pytest.mark.parametrize("rest", ["", "/v1", "/run/exec/"])
@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_the_key_may_be_part_of_the_path(
    release: Release, rest: str, live_server_url: str, api_key: str, connect: Connect
) -> None:
    # The releases that send a key refuse to start without one; the server prefers the valid one.
    client = connect(
        release,
        f"{live_server_url}/k/{api_key}{rest}",
        "another-service" if release.sends_key else "",
    )
    _works(client)


@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_the_key_may_be_the_password_of_the_url(
    release: Release, live_server_url: str, api_key: str, connect: Connect
) -> None:
    host = urlsplit(live_server_url).netloc
    client = connect(
        release,
        f"http://any:{api_key}@{host}/v1",
        "another-service" if release.sends_key else "",
    )
    _works(client)


@only(*SENDING_A_KEY)
def test_a_call_with_a_timeout_does_not_cut_the_run_after_it(librechat: LibreChat) -> None:
    """Up to 0.8.3 a timeout of 5 s stays on the pooled connection, and kills the next request."""
    file = librechat.upload("a.txt", b"a")
    assert librechat.freshness(file, shared_agent=True)
    answer = Conversation(librechat).run("py", "import time; time.sleep(7); print('slept')")
    assert answer.text == "stdout:\nslept"


def test_a_file_from_before_an_upgrade_of_librechat_is_found_after_it(
    live_server_url: str, api_key: str, connect: Connect
) -> None:
    before = connect(V0_8_5, live_server_url, api_key)
    after = connect(NEWEST, NEWEST.base_url(live_server_url, api_key), "")
    uploaded = before.upload("kept.txt", b"kept")
    known = StoredFile(uploaded.session_id, uploaded.id, "kept.txt", Scope("user", ALICE))
    assert after.freshness(known)
    assert after.is_alive(known)
    answer = Conversation(after, known.new_ref()).run("bash", "cat kept.txt")
    assert answer.text == "stdout:\nkept"
