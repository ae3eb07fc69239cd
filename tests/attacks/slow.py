"""Clients that take their time, and what all of them leave behind."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress

import requests

from tests.attacks.attack import Need, held
from tests.attacks.bodies import (
    body_without_end,
    deep_json,
    gigantic_numbers,
    multipart_of_many_parts,
    multipart_without_end,
    one_name_twice,
    packed_bodies,
)
from tests.attacks.heads import too_long_to_read
from tests.attacks.refusals import group
from tests.attacks.target import Target

# More than there are threads to serve with.
SLOW_CLIENTS = 120


def held_up(target: Target, begin: bytes, more: bytes) -> None:
    """Slow clients, each of which sends a byte now and then, while another asks for a run."""
    with ExitStack() as connections:
        slow = [connections.enter_context(target.connect()) for _ in range(SLOW_CLIENTS)]
        for connection in slow:
            connection.sendall(begin)
        for _ in range(3):
            time.sleep(0.5)
            for connection in slow:
                # Unless it was told to go.
                with suppress(OSError):
                    connection.sendall(more)
        try:
            body = {"lang": "py", "code": "print(6 * 7)"}
            answer = requests.post(
                target.base_url + "/exec", json=body, headers={"X-API-Key": target.key}, timeout=20
            )
        except requests.Timeout:
            answer = None
    held(answer is not None, f"{SLOW_CLIENTS} slow clients keep all others out")
    assert answer is not None
    held(answer.status_code == 200 and answer.json()["stdout"] == "42\n", answer.text)


@group.attack()
def slow_headers(target: Target) -> str:
    """More clients than there are threads, whose headers come byte by byte and never end."""
    held_up(target, b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"y")
    return ""


@group.attack()
def slow_bodies(target: Target) -> str:
    """The same with bodies, behind headers that are in order."""
    kind, length = "Content-Type: application/json", "Content-Length: 100000"
    held_up(target, target.head("POST", "/exec", kind, length) + b'{"lang": "py", "code": "', b"y")
    return ""


@group.attack()
def silent_connections(target: Target) -> str:
    """Connections that never say a word."""
    held_up(target, b"", b"")
    return ""


MOST_GROWTH_KB = 64 * 1024


@group.attack(Need.HOST)
def memory_that_stays(target: Target) -> str:
    """All large requests once more, and then again, which is to take no more memory."""
    assert target.service
    large = (deep_json, one_name_twice, gigantic_numbers, packed_bodies, body_without_end,
             too_long_to_read, multipart_without_end, multipart_of_many_parts)  # fmt: skip
    for attack in large:
        attack(target)
    before = target.service.resident_kb()
    for _ in range(2):
        for attack in large:
            attack(target)
    growth = target.service.resident_kb() - before
    held(growth < MOST_GROWTH_KB, f"it has grown by {growth} kB")
    return ""
