"""The container's first process.

Each container has one, also while it waits, so it imports little: of the standard library alone,
`dataclasses`, `pathlib` and `shutil` would take a third of its memory."""

from __future__ import annotations

import gc
import os
import sys

from .chores import Chores
from .helping import Helpers
from .layout import Layout
from .preloaded import Zygote
from .privileges import confine_self, name_self
from .refusing import refuse_what_would_stay
from .server import Server
from .stream import Stream
from .supervisor import Pid1
from .users import write_users

PLAIN = "--plain"


def main() -> None:
    confine_self()
    refuse_what_would_stay()
    name_self(b"runner")
    os.umask(0o022)
    # What is here now is shared with every helper; a collection would only copy its pages.
    gc.freeze()
    layout = Layout()
    write_users(layout)
    # Tests compare with a container that has no zygote.
    zygote = None if PLAIN in sys.argv[1:] else Zygote(layout)
    stream = Stream(0, 1)
    supervisor = Pid1(Helpers(Chores(layout, stream)), zygote)
    supervisor.help({"verb": "copy_caches"})
    Server(stream, layout, supervisor).serve()
