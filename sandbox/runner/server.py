"""The verbs: one request at a time, from a client that attaches, asks and goes."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from . import collecting, source, writing
from .languages import LANGUAGES
from .layout import Layout
from .program import Leftovers, Program
from .protocol import CONTROL, VERSION, Control, parse_control
from .running import Limits, Run
from .source import Source
from .stream import Frame, Stream
from .supervisor import Supervisor


class Failed(Exception):
    """A request that cannot be fulfilled; the client gets the code and the message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Server:
    def __init__(self, stream: Stream, layout: Layout, supervisor: Supervisor) -> None:
        self._stream = stream
        self._layout = layout
        self._supervisor = supervisor
        # The last run's source and its name beside the files, as long as it may still be there.
        self._placed: tuple[Source, str] | None = None

    def serve(self) -> None:
        """Until stdin closes or what comes is no frame; then the container's life ends."""
        while True:
            frame = self._stream.read()
            # Data without a request is the rest of what a lost client had to say.
            if frame.kind == CONTROL:
                self._handle(frame)

    def _handle(self, frame: Frame) -> None:
        message = parse_control(frame.payload)
        try:
            match message.get("verb"):
                case "hello":
                    self._hello(frame.request)
                case "put":
                    self._help(partial(self._put, frame.request, message))
                case "remove":
                    self._help(partial(self._remove, frame.request, message))
                case "collect":
                    self._help(partial(self._collect, frame.request, message))
                case "run":
                    self._run(frame.request, message)
                case "cancel":
                    # The run has ended by itself in the meantime.
                    pass
                case verb:
                    raise Failed("unknown_verb", f"there is no verb {str(verb)[:40]!r}")
        except (KeyError, TypeError) as error:
            self._fail(frame.request, Failed("bad_request", repr(error)))
        except Failed as error:
            self._fail(frame.request, error)

    def _hello(self, request: int) -> None:
        self._stream.reply(request, {"version": VERSION, "languages": list(LANGUAGES)})

    def _put(self, request: int, message: Control) -> None:
        content = self._stream.data(request, sum(file["size"] for file in message["files"]))
        unwritten = writing.put(self._layout.workspace, message["files"], content)
        if unwritten:
            text = f"no room in the workspace for {unwritten[0]}"
            self._fail(request, Failed("full", text))
        else:
            self._stream.reply(request, {"ok": True})

    def _remove(self, request: int, message: Control) -> None:
        writing.remove(self._layout.workspace, message["names"])
        self._stream.reply(request, {"ok": True})

    def _collect(self, request: int, message: Control) -> None:
        collecting.collect(self._layout.workspace, request, message, self._stream)

    def _run(self, request: int, message: Control) -> None:
        content = self._stream.data(request, message["code_bytes"])
        language = LANGUAGES.get(message["language"])
        if language is None:
            for _ in content:
                pass
            raise Failed("unknown_language", f"cannot run {str(message['language'])[:40]!r}")
        limits = Limits(message["wall_seconds"], message["output_bytes"])
        if self._placed:
            # A client that did not collect what the last run left.
            self._help(lambda: None)
        try:
            written = source.write_source(self._layout, language, content)
        except OSError as error:
            raise Failed("full", f"no room for the program: {error.strerror}") from error
        program = Program(
            self._layout, language, written, list(message["args"]), message["cpu_seconds"]
        )
        try:
            report, name = Run(self._stream, request, limits).execute(self._supervisor, program)
        except Leftovers as error:
            raise Failed("leftovers", "a process cannot be killed") from error
        finally:
            with suppress(FileNotFoundError):
                os.unlink(written.path)
        self._placed = (written, name) if name else None
        self._stream.reply(request, report)

    def _help(self, work: Callable[[], None]) -> None:
        placed, self._placed = self._placed, None

        def whole() -> None:
            if placed:
                source.withdraw(self._layout, *placed)
            work()

        self._supervisor.help(whole)

    def _fail(self, request: int, error: Failed) -> None:
        self._stream.reply(request, {"error": error.code, "message": str(error)})
