from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.models import SandboxContainer
from keys.models import APIKey, Issuer
from sandbox import contents, images, pool
from sandbox.doctor.images import BUILD, RUNNER_LABEL
from sandbox.engines import engine
from sandbox.engines.base import ImageInfo
from sandbox.errors import SandboxError
from sandbox.librechat import promised
from sandbox.runner.protocol import VERSION


class Command(BaseCommand):
    help = "Show the images that programs run in: what they hold, who has them, what runs of them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "name", nargs="*", help="of SANDBOX_IMAGES, or default; without any: all"
        )
        parser.add_argument(
            "--missing",
            action="store_true",
            help="say what LibreChat's own server has and the image has not",
        )
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            shown = [self._look(name) for name in options["name"] or images.names()]
        except SandboxError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(shown, indent=2, default=str))
            return
        for one in shown:
            self._show(one, missing=options["missing"])

    def _look(self, name: str) -> dict[str, Any]:
        tag = images.tag(name)
        image = engine().image(tag)
        found: dict[str, Any] = {"name": name, "image": tag, "keys": list(_users(name))}
        if image is None:
            return found
        held = contents.of_image(tag)
        return found | {
            "id": image.id,
            "created": image.created_at,
            "size_mb": image.size_bytes // 10**6,
            # It has just spoken with this server.
            "runner": image.labels.get(RUNNER_LABEL, VERSION),
            "containers": _containers(tag, image),
            **asdict(held),
            "missing": held.missing,
        }

    def _show(self, one: dict[str, Any], *, missing: bool) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(f"{one['name']}: {one['image']}"))
        if "id" not in one:
            self.stdout.write(self.style.ERROR(f"  is missing: {BUILD}"))
            return
        current, older = one["containers"]["current"], one["containers"]["older"]
        lines = {
            "built": f"{one['created']:%Y-%m-%d %H:%M} UTC, {one['size_mb']} MB",
            "runner": one["runner"],
            "containers": f"{current} of this build, {older} of older ones",
            "keys": ", ".join(one["keys"]) or "none",
            f"Python {one['python']}": _versions(one["packages"]),
            f"Node {one['node']}": _versions(
                {n: v for n, v in one["libraries"].items() if n in promised.JAVASCRIPT}
            ),
            "fonts": ", ".join(one["fonts"]),
        }
        if missing:
            lines["missing"] = ", ".join(one["missing"]) or "nothing"
        for title, text in lines.items():
            self.stdout.write(f"  {title}: {text}")


def _versions(found: dict[str, str]) -> str:
    return ", ".join(f"{name} {found[name]}" for name in sorted(found, key=str.lower))


def _users(name: str) -> Iterator[str]:
    """The keys and issuers that have an image as their own; all others have the default one."""
    stored = "" if name == images.DEFAULT else name
    for key in APIKey.objects.usable().filter(image=stored, issuer=None).order_by("name"):
        yield str(key)
    for issuer in Issuer.objects.filter(image=stored, enabled=True):
        yield f"{issuer} (issuer)"


def _containers(tag: str, image: ImageInfo) -> dict[str, int]:
    """Of this build of the image, and of those that had its name before."""
    builds = {info.name: info.image_id for info in engine().list() if info.running}
    counted = {"current": 0, "older": 0}
    for container in SandboxContainer.objects.filter(ended_at=None):
        if pool.tag_of(container) == tag and container.name in builds:
            is_current = builds[container.name] == image.id
            counted["current" if is_current else "older"] += 1
    return counted
