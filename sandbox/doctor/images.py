"""The images: there, and with the runner that this server speaks with."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox import images
from sandbox.engines import engine
from sandbox.findings import Finding, fail, ok
from sandbox.runner.protocol import VERSION

RUNNER_LABEL = "interpreter.runner"
BUILD = "script/image builds it; with compose: docker compose build sandbox-image"


def check() -> Iterator[Finding]:
    for name in images.names():
        yield check_one(name)


def check_one(name: str) -> Finding:
    check, tag = f"image.{name}", images.tag(name)
    image = engine().image(tag)
    if image is None:
        return fail(check, f"the engine has no image {tag}", f"{BUILD}. --fix does not.")
    runner = image.labels.get(RUNNER_LABEL, "")
    if runner and runner != VERSION:
        text = f"{tag} holds runner {runner}, this server speaks with {VERSION}"
        return fail(check, text, f"Build it anew: {BUILD}.")
    return ok(check, f"{tag}, made {image.created_at:%Y-%m-%d}, {image.size_bytes // 10**6} MB")
