"""What only a real container keeps from one run to the next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers import Sandbox, docker_engine, started

KEEP = """
import ctypes, os, pathlib
pathlib.Path("/dev/shm/segment").write_text("kept")
os.makedirs("/tmp/.cache/added")
os.setxattr("/mnt/data", "user.note", b"kept")
libc = ctypes.CDLL(None)
IPC_CREAT = 0o1000
print(libc.semget(7, 1, IPC_CREAT | 0o600) >= 0)
"""
LOOK = """
import ctypes, os
print(os.listdir("/dev/shm"), os.path.exists("/tmp/.cache/added"), os.listxattr("/mnt/data"))
print(ctypes.CDLL(None).semget(7, 1, 0o600))
print(*(oct(os.stat(place).st_mode & 0o7777) for place in ("/mnt/data", "/tmp", "/dev/shm")))
"""
CACHES = "cd /tmp/.cache && find . -type f | sort | xargs sha256sum"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with started(docker_engine()) as sandbox:
        yield sandbox


def test_memory_semaphores_and_attributes_go_and_the_images_caches_come_back(
    sandbox: Sandbox,
) -> None:
    caches = sandbox.bash(CACHES)
    assert "matplotlib" in caches
    assert sandbox.output(KEEP) == "True\n"
    sandbox.bash("rm -r /tmp/.cache/matplotlib; chmod 700 /tmp /dev/shm /mnt/data")
    with sandbox.attach() as channel:
        channel.reset()
    assert sandbox.output(LOOK) == "[] False []\n-1\n0o755 0o1777 0o1777\n"
    assert sandbox.bash(CACHES) == caches


def test_shared_memory_that_a_program_has_closed_is_emptied_and_open_again(
    sandbox: Sandbox,
) -> None:
    sandbox.bash("touch /dev/shm/left; chmod 000 /dev/shm")
    assert sandbox.bash("ls -A /dev/shm; stat -c %a /dev/shm") == "1777\n"


def test_after_a_reset_a_full_workspace_has_room_again(sandbox: Sandbox) -> None:
    sandbox.run("cat /dev/zero > full; cat /dev/zero > /dev/shm/full", language="bash")
    sandbox.run("cat /dev/zero > /tmp/full", language="bash")
    with sandbox.attach() as channel:
        channel.reset()
    sandbox.put({"a": b"x" * 1_000_000})
    assert sandbox.files() == {"a": b"x" * 1_000_000}
