"""The verbs: one request at a time, from a client that attaches, asks and goes."""

from __future__ import annotations

import os
from contextlib import suppress

from . import source
from .languages import LANGUAGES
from .layout import Layout
from .privileges import ProcessLimits
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
        # Whether nothing has been taken away yet of what the last run left.
        self._has_run = False
        # Which run has used the container last.
        self._last_use = ""

    def serve(self) -> None:
        """Until stdin closes or what comes is no frame; then the container's life ends."""
        while True:
            self._supervisor.await_input(self._stream.incoming)
            frame = self._stream.feed()
            # Data without a request is the rest of what a lost client had to say.
            if frame and frame.kind == CONTROL:
                self._handle(frame)

    def _handle(self, frame: Frame) -> None:
        message = parse_control(frame.payload)
        try:
            if "fence" in message:
                self._pass_fence(message["fence"])
            match message.get("verb"):
                case "hello":
                    self._hello(frame.request, message)
                case "put" | "remove" | "collect" | "reset" as verb:
                    self._help(verb, frame.request, message)
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

    def _pass_fence(self, fence: Control) -> None:
        """Whoever knows less of us than there is to know would take what is here for something
        else."""
        if fence["use"] == self._last_use:
            return
        if fence["last"] != self._last_use:
            raise Failed("fenced", "it has been used by a run that its server does not know of")
        self._last_use = fence["use"]

    def _hello(self, request: int, message: Control) -> None:
        hot = self._supervisor.warm_up(float(message.get("hot_within", 0)))
        answer: Control = {
            "version": VERSION,
            "languages": list(LANGUAGES),
            "hot": hot,
            "served": self._supervisor.served,
        }
        self._stream.reply(request, answer)

    def _run(self, request: int, message: Control) -> None:
        content = self._stream.data(request, message["code_bytes"])
        language = LANGUAGES.get(message["language"])
        if language is None:
            for _ in content:
                pass
            raise Failed("unknown_language", f"cannot run {str(message['language'])[:40]!r}")
        limits = Limits(message["wall_seconds"], message["output_bytes"])
        of_process = ProcessLimits(
            message["cpu_seconds"], message["open_files"], message["file_bytes"]
        )
        if self._has_run:
            # For a client that did not collect.
            self._help("end_run")
        try:
            written = source.write_source(self._layout, language, content)
        except OSError as error:
            raise Failed("full", f"no room for the program: {error.strerror}") from error
        program = Program(self._layout, language, written, list(message["args"]), of_process)
        try:
            report, name = Run(self._stream, request, limits).execute(self._supervisor, program)
        except Leftovers as error:
            raise Failed("leftovers", "a process cannot be killed") from error
        finally:
            with suppress(FileNotFoundError):
                os.unlink(written.path)
        self._placed = (written, name) if name else None
        self._has_run = True
        self._stream.reply(request, report)
        if "collect" in message:
            self._help("collect", request, message["collect"])

    def _help(self, verb: str, request: int = 0, message: Control | None = None) -> None:
        placed, self._placed = self._placed, None
        if verb in ("collect", "end_run", "reset"):
            self._has_run = False
        task: Control = {"verb": verb, "request": request, "message": message}
        if placed:
            written, name = placed
            task["placed"] = written._asdict() | {"beside": name}
        self._supervisor.help(task)

    def _fail(self, request: int, error: Failed) -> None:
        self._stream.reply(request, {"error": error.code, "message": str(error)})
