"""What a victim has, and that it stays so."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.attacks.attack import Group, held
from tests.attacks.target import Answer, Target

group = Group("tenants")
ID = re.compile(r"[A-Za-z0-9_-]{21}")
NOT_FOUND = {"Session not found", "File not found"}


@dataclass(frozen=True)
class Belongings:
    """What the victim has: a session of a run and one of an upload, and a secret in each."""

    secret: str
    run: Answer
    upload: Answer

    @property
    def sessions(self) -> list[str]:
        return [self.run["session_id"], self.upload["session_id"]]

    @property
    def files(self) -> list[Answer]:
        [written] = self.run["files"]
        [uploaded] = self.upload["files"]
        return [written, {"id": uploaded["fileId"], "session_id": self.upload["session_id"]}]

    def is_in(self, text: str) -> bool:
        return self.secret in text


def belongings(target: Target, *, hint: str = "") -> Belongings:
    secret = secrets.token_hex(16)
    return Belongings(
        secret=secret,
        run=target.run(f"open('secret.txt', 'w').write('{secret}')", runtime_session_hint=hint),
        upload=target.upload({"secret.txt": secret.encode()}),
    )


@contextmanager
def untouched(target: Target) -> Iterator[Belongings]:
    """Whatever is done in between, the owner sees the same afterwards, byte for byte."""
    owned = belongings(target)
    before = [target.listing(session_id) for session_id in owned.sessions]
    yield owned
    after = [target.listing(session_id) for session_id in owned.sessions]
    held(before == after, f"the owner's listing was changed: {before} {after}")
    for file in owned.files:
        held(target.download(file).text == owned.secret, "the owner's file was changed")


def refused_like_a_stranger(target: Target, method: str, path: str) -> None:
    """Answered as if there were no such thing, in the very words."""
    answer = target.request(method, path, key=target.other_key)
    held(answer.status_code == 404, f"{method} {path} was answered with {answer.status_code}")
    invented = "".join(secrets.choice(string.ascii_letters) for _ in range(21))
    path = "/".join(invented if ID.fullmatch(part) else part for part in path.split("/"))
    stranger = target.request(method, path, key=target.other_key)
    held(stranger.status_code == 404, f"{method} {path} was answered with {stranger.status_code}")
    held(
        (answer.content, sorted(answer.headers)) == (stranger.content, sorted(stranger.headers)),
        f"{method} tells whether a thing is there: {answer.text} {stranger.text}",
    )
    held(method == "HEAD" or answer.json()["error"] in NOT_FOUND, answer.text)


LOOK = """
import glob
for path in glob.glob("/mnt/data/**", recursive=True) + glob.glob("/tmp/*"):
    try: print(path, open(path).read())
    except OSError: pass
open("secret.txt", "w").write("overwritten")
"""
