from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from keys.management.arguments import name
from keys.models import APIKey, Issuer
from keys.public_keys import DEFAULT_KID
from sandbox.findings import Level
from sandbox.librechat.calls import Calls
from sandbox.librechat.lines import Pair, base_url, lines
from sandbox.librechat.playing import play
from sandbox.librechat.releases import Release
from sandbox.librechat.tokens import sign
from sandbox.management.arguments import release


class Command(BaseCommand):
    help = (
        "Print the lines for the .env of one version of LibreChat. With --base-url, also make that "
        "version's calls and say of each whether it works."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("version", type=release, help="such as 0.8.6, or newest")
        key = parser.add_mutually_exclusive_group()
        key.add_argument(
            "--key",
            type=name,
            metavar="NAME",
            help="issue a key of that name, which is in the lines and shown only now",
        )
        key.add_argument("--api-key", metavar="SECRET", default="", help="one that there is")
        parser.add_argument(
            "--jwt",
            action="store_true",
            help="for calls that are signed: make a pair of keys (from 0.8.6 on)",
        )
        parser.add_argument(
            "--issuer",
            type=name,
            metavar="NAME",
            help="with --jwt: register the public key under that name, so that it counts at once",
        )
        parser.add_argument(
            "--base-url",
            default="",
            metavar="URL",
            help="this server as LibreChat sees it, such as http://localhost:8000",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        version: Release = options["version"]
        pair = self._pair(version, options)
        secret = options["api_key"]
        if options["key"]:
            _, secret = APIKey.issue(name=options["key"])
        for line in lines(version, options["base_url"], secret, pair):
            self.stdout.write(line)
        if pair and not options["issuer"]:
            self.stdout.write("\n# For this server: a new entry under Token issuers in the admin.")
            self.stdout.write(pair.public_pem.rstrip())
        if not options["base_url"]:
            return
        if not secret and not (pair and options["issuer"]):
            raise CommandError("To make calls, give --key, --api-key, or --jwt with --issuer.")
        self.stdout.write("")
        if not self._play(version, options["base_url"], secret, pair):
            sys.exit(1)

    def _pair(self, version: Release, options: dict[str, Any]) -> Pair | None:
        if options["issuer"] and not options["jwt"]:
            raise CommandError("--issuer goes with --jwt.")
        if not options["jwt"]:
            return None
        if not version.signs:
            raise CommandError(f"LibreChat {version} cannot sign its calls; 0.8.6 is the first.")
        pair = Pair.new()
        if wanted := options["issuer"]:
            if Issuer.objects.filter(name=wanted).exists():
                raise CommandError(
                    f"There is an issuer {wanted!r}. Run this without --issuer and put the public "
                    "key below its present ones in the admin: both count until LibreChat has "
                    "changed over."
                )
            Issuer.objects.create(name=wanted, public_keys=pair.public_pem)
        return pair

    def _play(self, version: Release, address: str, secret: str, pair: Pair | None) -> bool:
        token = ""
        if pair:
            token = sign(
                pair.private,
                algorithm="EdDSA",
                kid=DEFAULT_KID,
                issuer="librechat",
                audience="codeapi",
                ttl_seconds=300,
            )
        url = base_url(version, address, secret, signed=bool(pair))
        calls = Calls(version, url, key=secret if version.sends_key else "", token=token)
        works = True
        for finding in play(calls):
            works &= finding.level != Level.FAIL
            style = self.style.SUCCESS if finding.level == Level.OK else self.style.ERROR
            self.stdout.write(f"{style(f'{finding.level:<4}')} {finding.check}: {finding.text}")
            if finding.advice:
                self.stdout.write(f"       {finding.advice}")
        return works
