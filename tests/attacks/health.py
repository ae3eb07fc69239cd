"""Whether the server still does its work, as somebody finds who has attacked nobody."""

from __future__ import annotations

import re
import secrets

from tests.attacks.attack import held
from tests.attacks.target import Target

# Also counts the processes that belong to whom programs run as: there is to be none but itself.
PROBE = """
import os
uids = []
for pid in filter(str.isdecimal, os.listdir("/proc")):
    try:
        uids.append(os.stat(f"/proc/{pid}").st_uid)
    except FileNotFoundError:
        pass
print(%d * %d, uids.count(os.getuid()))
"""

LEFT_OUT = re.compile(r"\n\[sandbox\] [^\n]* missing from the answer[^\n]*\n")


class Health:
    """A bystander's session, which lasts while all the attacks go on around it."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._secret = secrets.token_hex(16)
        written = target.run(f"open('own.txt', 'w').write('{self._secret}')")
        self._session_id: str = written["session_id"]

    def check(self, attacked: str) -> None:
        """The bystander finds what it left and gets a right answer, and so does the attacked
        session's next run."""
        answer = self._target.run(
            'echo "$(<own.txt)" $((6 * 7)); ls', "bash", session_id=self._session_id
        )
        held(
            answer["stdout"] == f"{self._secret} 42\nown.txt\n" and answer["code"] == 0,
            f"the bystander's run went wrong: {answer}",
        )
        if attacked:
            self._check_attacked(attacked)

    def _check_attacked(self, session_id: str) -> None:
        a, b = secrets.randbelow(10_000), secrets.randbelow(10_000)
        answer = self._target.run(PROBE % (a, b), session_id=session_id)
        held(answer["session_id"] == session_id, "the attacked session is gone")
        # What the attack has left in the workspace may still be more than an answer can hold.
        stderr = LEFT_OUT.sub("", answer["stderr"])
        held(
            answer["stdout"] == f"{a * b} 1\n" and stderr == "",
            f"the attacked session's next run went wrong: {answer}",
        )
