import os
from pathlib import Path

import pytest

from tests.conftest import empty_database
from tests.containers import docker_engine
from tests.librechat.client import LibreChat
from tests.librechat.conversation import Conversation
from tests.librechat.process import CallFailed
from tests.librechat.refs import StoredFile
from tests.librechat.releases import NEWEST, V0_8_5
from tests.service import Service

ABSENT = StoredFile("V1StGXR8_Z5jdHi6B-myT", "Zk3pQ0x9aB_7cDeFgHiJ1", "absent")


def test_the_key_never_reaches_a_log(tmp_path: Path) -> None:
    """0.8.5 repeats it in the body of every run, the newest carry it in the URL."""
    docker_engine()
    with (
        empty_database(f"interpreter_secrets_{os.getpid()}") as database_url,
        Service(
            directory=tmp_path, database_url=database_url, settings={"ACCESS_LOG": "1"}
        ) as service,
    ):
        in_path = f"{service.url}/k/{service.key}"
        clients = [
            LibreChat(V0_8_5, service.url, service.key),
            LibreChat(NEWEST, NEWEST.base_url(service.url, service.key)),
            LibreChat(NEWEST, in_path),
            LibreChat(NEWEST, f"{in_path}wrong"),
        ]
        for client in clients:
            with client:
                Conversation(client).run("py", "1 / 0")
                assert Conversation(client).run("f90", "refused").failed
                with pytest.raises(CallFailed):
                    client.download(ABSENT)
    logs = {log.name: log.read_text() for log in tmp_path.glob("*.log")}
    # As JSON, which is what a log that is no terminal gets.
    assert sum(text.count('POST /exec\\"') for text in logs.values()) == 8
    assert not [name for name, text in logs.items() if service.key in text]
