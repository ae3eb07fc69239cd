"""Getting at what another user of the same key has, or had in the same container."""

from __future__ import annotations

import secrets

from tests.attacks.attack import held
from tests.attacks.belongings import LOOK, group
from tests.attacks.target import Target

LEAVE = """
import ctypes, os
secret = {secret!r}
for place in ("/mnt/data", "/mnt/data/.hidden", "/tmp", "/tmp/.cache", "/dev/shm", "/tmp/a/b"):
    os.makedirs(place, exist_ok=True)
    open(place + "/left.txt", "w").write(secret)
    os.symlink(secret, place + "/link")
ctypes.CDLL(None).semget(0x5EC, 1, 0o1600)
"""
FIND = """
import os
for top in ("/mnt/data", "/tmp", "/dev/shm", "/run"):
    for place, directories, names in os.walk(top):
        for name in names:
            path = f"{{place}}/{{name}}"
            text = ""
            if os.path.islink(path):
                text = os.readlink(path)
            elif os.path.isfile(path):
                text = open(path, errors="replace").read()
            if {backwards!r}[::-1] in text and not path.startswith("/run/code"):
                print("found", path)
# gVisor's kernel has no semaphores of this kind, and no list of them.
listed = "/proc/sysvipc/sem"
print("rows", len(open(listed).readlines()) - 1 if os.path.exists(listed) else 0)
"""
# More than there are containers, so that some of these sessions get one that was another's.
SESSIONS = 12


def finds_nothing(target: Target, leaver: dict[str, str], finder: dict[str, str]) -> str:
    secret = secrets.token_hex(16)
    for _ in range(3):
        target.run(LEAVE.format(secret=secret), headers=leaver)
    for _ in range(SESSIONS):
        answer = target.run(FIND.format(backwards=secret[::-1]), headers=finder)
        held(answer["stdout"] == "rows 0\n", f"something was left: {answer}")
    return str(answer["session_id"])


@group.attack()
def what_a_session_left(target: Target) -> str:
    """Looks in new sessions for what an earlier one has left, in containers that are used again."""
    return finds_nothing(target, {}, {})


@group.attack()
def what_a_user_left(target: Target) -> str:
    """Looks as one user of a key for what another has left in the containers."""
    return finds_nothing(target, {"User-Id": "alice"}, {"User-Id": "bob"})


@group.attack()
def session_of_another_user(target: Target) -> str:
    """Continues, as one user of a key, the session and the hint of another."""
    hint, secret = f"c-{secrets.token_hex(4)}", secrets.token_hex(16)
    write = f"open('secret.txt', 'w').write('{secret}'); open('/tmp/s', 'w').write('{secret}')"
    for named in ("user_id", "header"):

        def user(name: str, named: str = named) -> tuple[dict[str, str], dict[str, str]]:
            return ({"User-Id": name}, {}) if named == "header" else ({}, {"user_id": name})

        headers, body = user(f"alice-{named}")
        owned = target.run(write, headers=headers, runtime_session_hint=hint, **body)
        headers, body = user(f"bob-{named}")
        for how in ({"session_id": owned["session_id"]}, {"runtime_session_hint": hint}):
            answer = target.run(LOOK, headers=headers, **body, **how)
            held(answer["session_id"] != owned["session_id"], f"by {named}, it is Alice's session")
            held(secret not in str(answer), f"it has read the secret: {answer}")
    return ""
