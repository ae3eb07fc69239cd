"""Reaching the service itself and other sandboxes, which takes knowing where they are."""

from __future__ import annotations

from urllib.parse import urlsplit

from tests.attacks.attack import Group, held
from tests.attacks.concurrently import run_beside
from tests.attacks.target import Target

group = Group("network")

REACH = """
import socket
for host in {hosts!r}:
    for port in {ports!r}:
        try:
            socket.create_connection((host, port), timeout=1)
            print("reached", host, port)
        except OSError:
            pass
"""


@group.attack()
def the_service_itself(target: Target) -> str:
    """Connects to this very API and its database, under all names that its host may have."""
    hosts = [
        urlsplit(target.base_url).hostname,
        "localhost",
        "127.0.0.1",
        "::1",
        "0",
        "172.17.0.1",
        "host.docker.internal",
    ]
    ports = sorted({target.port, 5432, 6379, 8000, 2375})
    answer = target.run(REACH.format(hosts=hosts, ports=ports))
    held(answer["code"] == 0 and answer["stdout"] == "", f"it did: {answer}")
    return str(answer["session_id"])


LISTEN = """
import socket, time
listening = []
for family, address in (
    (socket.AF_INET, ("0.0.0.0", 5555)), (socket.AF_INET6, ("::", 5556)),
    (socket.AF_UNIX, "\\0between-sandboxes"), (socket.AF_UNIX, "/dev/shm/between"),
    (socket.AF_UNIX, "/tmp/between"),
):
    s = socket.socket(family)
    s.bind(address)
    s.listen()
    listening.append(s)
open("/dev/shm/shared", "w").write("between sandboxes")
time.sleep(600)
"""
CONNECT = """
import os, socket
for family, address in (
    (socket.AF_INET, ("127.0.0.1", 5555)), (socket.AF_INET6, ("::1", 5556)),
    (socket.AF_INET, (socket.gethostname(), 5555)),
    (socket.AF_UNIX, "\\0between-sandboxes"), (socket.AF_UNIX, "/dev/shm/between"),
    (socket.AF_UNIX, "/tmp/between"),
):
    try:
        socket.socket(family).connect(address)
        print("reached", address)
    except OSError:
        pass
if os.path.exists("/dev/shm/shared"):
    print("reached its memory")
"""


@group.attack()
def another_sandbox(target: Target) -> str:
    """Two programs in two sandboxes, of which one listens in every way and the other calls."""
    listening, answer = run_beside(target, LISTEN, CONNECT, seconds=4)
    held(listening["status"] == "TO", f"the listener did not listen: {listening}")
    held(answer["code"] == 0 and answer["stdout"] == "", f"they met: {answer}")
    return str(answer["session_id"])
