"""The file work of the verbs, which PID 1 has its helpers do.

Runs as the sandbox's user only, and only while no program does.
"""

from __future__ import annotations

import os

from . import collecting, removing, resetting, source, writing
from .caches import copy_caches
from .layout import Layout
from .protocol import Control
from .room import full
from .source import Source
from .stream import Stream

NOBODY = 0
REHEARSAL: Control = {
    "verb": "collect",
    "request": NOBODY,
    "message": {
        "known": {}, "max_files": 0, "file_bytes": 0, "total_bytes": 0, "depth": 1, "path_bytes": 1,
    },
    "placed": {"beside": "none", "path": "", "name": "", "size": 0, "sha256": ""},
}  # fmt: skip


class Chores:
    def __init__(self, layout: Layout, stream: Stream) -> None:
        self._layout = layout
        self._stream = stream

    def do(self, task: Control) -> None:
        """`verb` with its `message`, for a `request`; and first take away the source that was
        `placed` for the last run, if any."""
        if task.get("placed"):
            placed = dict(task["placed"])
            source.withdraw(self._layout, name=placed.pop("beside"), source=Source(**placed))
        request: int = task.get("request", NOBODY)
        match task["verb"]:
            case "put":
                self._put(request, task["message"])
            case "remove":
                removing.remove(self._layout.workspace, task["message"]["names"])
                self._stream.reply(request, {"ok": True})
            case "collect":
                collecting.collect(self._layout.workspace, request, task["message"], self._stream)
                resetting.end_run(self._layout)
            case "reset":
                resetting.reset(self._layout)
                self._stream.reply(request, {"ok": True})
            case "end_run":
                resetting.end_run(self._layout)
            case "copy_caches":
                copy_caches(self._layout)

    def rehearse(self) -> None:
        """What nearly every run needs, where nothing is. The memory that it takes and the pages
        of code that it touches are then this process's own, which is most of the time that it
        takes."""
        nowhere = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        try:
            empty = self._layout._replace(workspace=self._layout.code)
            Chores(empty, Stream(nowhere, nowhere)).do(REHEARSAL)
        finally:
            os.close(nowhere)

    def _put(self, request: int, message: Control) -> None:
        content = self._stream.data(request, sum(file["size"] for file in message["files"]))
        unwritten = writing.put(self._layout.workspace, message["files"], content)
        if unwritten:
            text = f"no room in the workspace for {unwritten[0]}"
            # What was written in part is gone again, so that there may be bytes left now.
            no_place = "workspace_inodes" in full(self._layout)
            limits = ["workspace_inodes" if no_place else "workspace_bytes"]
            self._stream.reply(request, {"error": "full", "message": text, "limits": limits})
        else:
            self._stream.reply(request, {"ok": True})
