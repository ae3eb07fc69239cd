"""script/attack: the attacks without pytest, on any server."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import requests

from tests.attacks.attack import GROUPS, Attack
from tests.attacks.campaign import carry_out_all, missing
from tests.attacks.corpus import attacks
from tests.attacks.private import private_target
from tests.attacks.target import Target, Unanswered


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    signal.signal(signal.SIGTERM, terminated)
    chosen = [attack for attack in attacks() if not options.only or is_chosen(attack, options.only)]
    with ExitStack() as stack:
        target = options_target(options) or stack.enter_context(
            private_target(
                Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="attack-"))),
                os.environ["DATABASE_URL"],
            )
        )
        warn(target, chosen)
        try:
            results = carry_out_all(target, chosen, say)
        except (Unanswered, requests.RequestException) as error:
            say(f"script/attack: the server does not even do its work: {error}")
            return 1
        except KeyboardInterrupt:
            return 130
    return 1 if any(result.failure for result in results) or not results else 0


def parse(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(
        prog="script/attack",
        description="Attacks a server in every way that we know. Exit status 1: one succeeded.",
        epilog="Without --base-url a service is started for it, on a database of its own. The"
        " second key is somebody else's, without which nobody can be robbed. ATTACK_API_KEY and"
        " ATTACK_OTHER_API_KEY keep the keys out of the list of processes.",
    )
    parser.add_argument("--base-url", metavar="URL", default="", help="attack this server")
    parser.add_argument("--api-key", metavar="KEY", default=os.environ.get("ATTACK_API_KEY", ""))
    parser.add_argument(
        "--other-api-key", metavar="KEY", default=os.environ.get("ATTACK_OTHER_API_KEY", "")
    )
    parser.add_argument(
        "--gvisor", action="store_true", help="that server's programs talk to gVisor's kernel"
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="GROUP[/NAME]",
        help=f"can be repeated; groups: {', '.join(GROUPS)}",
    )
    options = parser.parse_args(arguments)
    if options.base_url and not options.api_key:
        parser.error("--base-url needs --api-key, or ATTACK_API_KEY")
    return options


def is_chosen(attack: Attack, only: Sequence[str]) -> bool:
    return bool({attack.group, str(attack)} & set(only))


def options_target(options: Namespace) -> Target | None:
    if not options.base_url:
        return None
    return Target(
        base_url=options.base_url.rstrip("/"),
        key=options.api_key,
        other_key=options.other_api_key,
        under_gvisor=options.gvisor,
    )


def warn(target: Target, chosen: Sequence[Attack]) -> None:
    needs = [attack.needs for attack in chosen if missing(target, attack.needs)]
    for need in dict.fromkeys(needs):
        say(f"NOT tried, for want of {need}: {needs.count(need)} attacks")


def terminated(number: int, frame: object) -> None:
    """As Ctrl-C does: everything that was started is stopped."""
    raise KeyboardInterrupt


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
