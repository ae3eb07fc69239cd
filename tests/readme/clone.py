"""A fresh clone of what is committed, with the service that script/server starts there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import requests

from tests.server import Server, found
from tests.service import ROOT, free_port

# With all that pip has to get.
FIRST_START_SECONDS = 900
COMMAND_SECONDS = 300
# What the walk runs as it stands there.
RUN = re.compile(r"script/attack$|(?:script/manage|script/attack|openssl|awk|curl)\s")
# A setting by itself: Django's checks look at it.
SETTING = re.compile(r"[A-Z_]+='[^']*'|[A-Z_]+=\S*")
# One attack stands for all, which the tests of the attacks carry out.
ONE_ATTACK = "--only tenants/key_of_two_halves"


def can_be_run(command: str) -> bool:
    return command == "script/server" or bool(RUN.match(command) or SETTING.fullmatch(command))


class Clone:
    def __init__(self, directory: Path) -> None:
        self.path = directory / "interpreter"
        self._trust = directory / "gitconfig"
        self.key = self.password = self.printed = ""
        self.server = Server(self.path / "var", free_port(), self.path)
        self.server.output = directory / "server.out"
        # A new user has set nothing; what the tests have set is none of the clone's business.
        for name in ("DATA_DIR", "DJANGO_SETTINGS_MODULE", "REQUIRE_ENGINE"):
            self.server.environment.pop(name, None)

    def make(self) -> None:
        # Continuous integration may have checked it out as somebody else.
        self._trust.write_text("[safe]\n\tdirectory = *\n")
        self._git("clone", "--quiet", str(ROOT), str(self.path))

    def differs(self, *paths: str) -> str:
        """What of them is changed in the checkout and not committed, so that the clone lacks it."""
        return self._git("-C", str(ROOT), "status", "--porcelain", "--", *paths)

    def untracked(self) -> str:
        return self._git("-C", str(self.path), "status", "--porcelain")

    def _git(self, *arguments: str) -> str:
        environment = os.environ | {"GIT_CONFIG_GLOBAL": str(self._trust)}
        command = ["git", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        self.printed = self.server.start(FIRST_START_SECONDS)
        self.key = found(r"LIBRECHAT_CODE_API_KEY=(lci_\w+)", self.printed)
        # As LibreChat would have it, up to 0.8.5 and later.
        lines = re.findall(r"^ +(LIBRECHAT_CODE_\w+=.*)$", self.printed, re.MULTILINE)
        (self.path.parent / "librechat.env").write_text(lines[-1] + "\n")

    def run(self, command: str) -> str:
        """What a command prints, typed in the clone's directory; it has to succeed."""
        url = self.server.url
        for written, real in {
            "http://localhost:8000": url,
            "https://code.example.com": url,
            "/srv/librechat/.env": str(self.path.parent / "librechat.env"),
        }.items():
            command = command.replace(written, real)
        if command.startswith("script/attack"):
            command += f" {ONE_ATTACK}"
        if SETTING.fullmatch(command):
            command += " script/manage check --fail-level WARNING"
        done = subprocess.run(
            ["bash", "-euc", command],
            cwd=self.path,
            env=self.server.environment | self._said(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _said(self) -> dict[str, str]:
        """The variables that the documents' commands name."""
        others = self.path.parent / "others_key"
        return {
            "CODE_URL": self.server.url,
            "CODE_KEY": self.key,
            "KEY": self.key,
            "OTHERS_KEY": others.read_text() if others.exists() else "",
        }

    def status(self, key: str) -> int:
        """Of a call with that key."""
        return requests.post(
            f"{self.server.url}/exec",
            json={"lang": "py", "code": "print(6 * 7)"},
            headers={"X-API-Key": key},
            timeout=120,
        ).status_code
