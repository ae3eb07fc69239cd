"""What an image holds, asked from the image itself: a container of it looks around."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.confinement import confinement
from sandbox.errors import ContainerLost
from sandbox.librechat import promised
from sandbox.probe import started

PROGRAM = """
import glob, importlib.metadata, json, os, platform, subprocess

packages = {}
for found in importlib.metadata.distributions():
    packages[found.metadata["Name"]] = found.version
libraries = {}
for path in glob.glob("/node_modules/*/package.json"):
    with open(path) as file:
        found = json.load(file)
    libraries[found["name"]] = found.get("version", "")
try:
    from matplotlib.font_manager import fontManager
    fonts = sorted({font.name for font in fontManager.ttflist})
except ImportError:
    fonts = []
node = subprocess.run(["node", "--version"], capture_output=True, text=True)
print(json.dumps({
    "python": platform.python_version(), "node": node.stdout.strip().removeprefix("v"),
    "packages": packages, "libraries": libraries, "fonts": fonts,
}))
"""


@dataclass(frozen=True, slots=True)
class Contents:
    python: str
    node: str
    # Versions by names.
    packages: Mapping[str, str]
    libraries: Mapping[str, str]
    fonts: tuple[str, ...]

    @property
    def missing(self) -> list[str]:
        """Of what LibreChat's own server has."""
        there = {_normal(name) for name in self.packages}
        wanted = (*promised.PYTHON, *promised.LEFT_OUT)
        python = [name for name in wanted if _normal(name) not in there]
        return python + [f"{name} (JavaScript)" for name in self._missing_libraries()]

    def _missing_libraries(self) -> list[str]:
        return [name for name in promised.JAVASCRIPT if name not in self.libraries]


def of_image(tag: str) -> Contents:
    with started(confinement(image=tag)) as probe:
        result = probe.run(PROGRAM)
    try:
        found: dict[str, Any] = json.loads(result.stdout)
        return Contents(**found | {"fonts": tuple(found["fonts"])})
    except (ValueError, TypeError) as error:
        said = " ".join(result.stderr.decode(errors="replace").split()[-20:])
        raise ContainerLost(f"The image {tag} did not say what it holds: {said}") from error


def _normal(name: str) -> str:
    """How packages' names are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()
