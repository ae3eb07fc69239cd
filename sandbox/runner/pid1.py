"""The container's first process."""

from __future__ import annotations

import gc
import os

from .caches import copy_caches
from .layout import Layout
from .privileges import confine_self
from .server import Server
from .stream import Stream
from .supervisor import Pid1


def main() -> None:
    confine_self()
    os.umask(0o022)
    # What is here now is shared with every helper; a collection would only copy its pages.
    gc.freeze()
    layout = Layout()
    supervisor = Pid1()
    supervisor.help(lambda: copy_caches(layout))
    Server(Stream(0, 1), layout, supervisor).serve()
