"""The names of users and groups: a container's programs have a uid of its own, and it the name."""

from __future__ import annotations

import os
import re

from .layout import Layout
from .privileges import DEFAULT_UID, SANDBOX_UID


def write_users(layout: Layout) -> None:
    for name in ("passwd", "group"):
        with open(f"{layout.users}/{name}", encoding="utf-8") as file:
            users = re.sub(rf"(?<=:){DEFAULT_UID}(?=:)", str(SANDBOX_UID), file.read())
        descriptor = os.open(f"{layout.code}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(users)
