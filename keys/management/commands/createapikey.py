from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from keys.management.arguments import image, limit, moment, name, network, owner, quota
from keys.models import APIKey, KeyScope


class Command(BaseCommand):
    help = "Issue an API key. Its secret is the last line of the output and is shown only once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", type=name, help="whose key it is: a host or a person")
        parser.add_argument(
            "--expires", type=moment, metavar="DATE|DAYS", help="default: it never expires"
        )
        parser.add_argument(
            "--owner", type=owner, default="", help="who answers for it: a person or a team"
        )
        parser.add_argument("--note", default="")
        parser.add_argument(
            "--scope",
            action="append",
            choices=KeyScope.values,
            help="what may be done with it; may be given several times; default: everything",
        )
        parser.add_argument(
            "--network",
            type=network,
            action="append",
            default=[],
            metavar="CIDR",
            help="from where it may be used, as 10.0.3.0/24; may be given several times; default: "
            "from everywhere",
        )
        parser.add_argument(
            "--limit",
            type=limit,
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="less of something than the server's setting allows, such as memory_mb=256; may "
            "be given several times",
        )
        parser.add_argument(
            "--quota",
            type=quota,
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="instead of the server's, such as runs_per_hour=100 for the key and "
            "user_runs_per_hour=20 for each user of it; 0 is none; may be given several times",
        )
        parser.add_argument(
            "--no-code",
            action="store_true",
            help="keep the code and arguments of its runs out of the audit log",
        )
        parser.add_argument(
            "--no-output",
            action="store_true",
            help="keep what its runs print out of the audit log",
        )
        parser.add_argument(
            "--image",
            type=image,
            default="",
            metavar="NAME",
            help="the sandbox image that its programs run in, by its name in SANDBOX_IMAGES",
        )
        parser.add_argument(
            "--if-none", action="store_true", help="do nothing while any usable key exists"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["if_none"] and APIKey.objects.with_secret().usable().exists():
            self.stderr.write("A usable API key exists, so no other was made.")
            return
        key, secret = APIKey.issue(
            name=options["name"],
            expires_at=options["expires"],
            owner=options["owner"],
            note=options["note"],
            scopes=options["scope"],
            networks=options["network"],
            limits=dict(options["limit"]),
            quotas=dict(options["quota"]),
            store_code=not options["no_code"],
            store_output=not options["no_output"],
            image=options["image"],
        )
        until = f"until {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else "for good"
        self.stderr.write(f"API key {key.prefix} ({key.name}), {until}. Shown only now:")
        self.stdout.write(secret)
