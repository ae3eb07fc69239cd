"""A run: the program's output as it comes, its time limit, and how it ended."""

from __future__ import annotations

import math
import os
import select
import signal
import time
from typing import Literal, NamedTuple

from .counters import oom_kills, refused_forks
from .privileges import SANDBOX_UID, acting_as
from .program import Ending, Process, Program
from .protocol import CONTROL, STDERR, STDOUT, Control, parse_control
from .room import full
from .stream import Stream
from .supervisor import Supervisor

# So much output is kept while nobody takes it; then the program has to wait.
MAX_UNSENT = 512 * 1024
# Less than this is sent with the report or, while a run goes on for longer, for who looks on, once
# in so many seconds: each piece wakes all processes on the way.
SMALL = 32 * 1024
SHOW_SECONDS = 1.0
CHUNK = 64 * 1024

# Of what a process dies that is at the end of its CPU time, or of a file's size.
LIMIT_SIGNALS = (signal.SIGXCPU, signal.SIGXFSZ)

Reason = Literal["exit", "timeout", "cancelled"]


class Limits(NamedTuple):
    wall_seconds: float
    output_bytes: int


class Output:
    """One of the program's two streams: forwarded up to a limit, only counted after it."""

    def __init__(self, kind: int, limit: int) -> None:
        self.reader, self.writer = _pipe_for_programs()
        os.set_blocking(self.reader, False)
        self.total = 0
        self.is_open = True
        self._kind = kind
        self._limit = limit

    def forward(self, stream: Stream, request: int) -> bool:
        """Move on what has come; false when nothing was there."""
        try:
            chunk = os.read(self.reader, CHUNK)
        except BlockingIOError:
            return False
        kept = chunk[: max(0, self._limit - self.total)]
        self.total += len(chunk)
        if kept:
            stream.queue(request, self._kind, kept)
        self.is_open = bool(chunk)
        return self.is_open


def _pipe_for_programs() -> tuple[int, int]:
    """One that they can open as well, as /dev/stdout, which asks for its mode and its maker."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        os.fchmod(writer, 0o666)
    except PermissionError:
        # gVisor's pipes keep their mode.
        os.close(reader)
        os.close(writer)
        with acting_as(SANDBOX_UID):
            return os.pipe2(os.O_CLOEXEC)
    return reader, writer


class Run:
    def __init__(self, stream: Stream, request: int, limits: Limits) -> None:
        self._stream = stream
        self._request = request
        self._limits = limits
        self._stdout = Output(STDOUT, limits.output_bytes)
        self._stderr = Output(STDERR, limits.output_bytes)
        self._outputs = (self._stdout, self._stderr)
        self._show_at = 0.0

    def execute(self, supervisor: Supervisor, program: Program) -> tuple[Control, str | None]:
        """The report on how it ended, and the name that its source was given, if any."""
        started = time.monotonic()
        self._show_at = started + SHOW_SECONDS
        kills, refused = oom_kills(), refused_forks()
        try:
            process = supervisor.start(program, self._stdout.writer, self._stderr.writer)
            for output in self._outputs:
                os.close(output.writer)
            reason = self._watch(process, started + self._limits.wall_seconds)
            ended = time.monotonic()
            ending = process.end()
            self._drain()
        finally:
            for output in self._outputs:
                os.close(output.reader)
        report: Control = {
            **_outcome(ending, reason),
            "oom_kills": oom_kills() - kills,
            "refused_forks": refused_forks() - refused,
            "full": full(program.layout),
            "wall_ms": round((ended - started) * 1000),
            "stdout_bytes": self._stdout.total,
            "stderr_bytes": self._stderr.total,
        }
        return report, process.placed

    def _drain(self) -> None:
        """The rest: nobody is left who could write more."""
        for output in self._outputs:
            while output.forward(self._stream, self._request):
                self._stream.flush()

    def _watch(self, process: Process, deadline: float) -> Reason:
        while True:
            remaining = deadline - time.monotonic()
            ready = self._wait(process, max(0.0, remaining))
            for output in self._outputs:
                if output.reader in ready:
                    output.forward(self._stream, self._request)
            if self._is_due():
                self._stream.write_some()
                if not self._stream.unsent:
                    self._show_at = time.monotonic() + SHOW_SECONDS
            if process.has_ended():
                return "exit"
            if self._stream.incoming in ready and self._is_cancelled():
                return "cancelled"
            if remaining <= 0:
                return "timeout"

    def _is_due(self) -> bool:
        unsent = self._stream.unsent
        return unsent > SMALL or (unsent > 0 and time.monotonic() >= self._show_at)

    def _wait(self, process: Process, seconds: float) -> set[int]:
        poll = select.poll()
        poll.register(process.fileno(), select.POLLIN)
        poll.register(self._stream.incoming, select.POLLIN)
        if self._is_due():
            poll.register(self._stream.outgoing, select.POLLOUT)
        elif self._stream.unsent:
            seconds = min(seconds, max(0.0, self._show_at - time.monotonic()))
        if self._stream.unsent <= MAX_UNSENT:
            for output in self._outputs:
                if output.is_open:
                    poll.register(output.reader, select.POLLIN)
        return {descriptor for descriptor, _ in poll.poll(math.ceil(seconds * 1000))}

    def _is_cancelled(self) -> bool:
        frame = self._stream.feed()
        if frame is None or frame.kind != CONTROL:
            return False
        if frame.request == self._request:
            return parse_control(frame.payload).get("verb") == "cancel"
        busy = {"error": "busy", "message": "another program is running"}
        self._stream.reply(frame.request, busy)
        return False


def _outcome(ending: Ending, reason: Reason) -> Control:
    if ending.status is None:
        raise RuntimeError("the program's exit status got lost")
    code = os.waitstatus_to_exitcode(ending.status)
    return {
        "reason": reason,
        "code": code if code >= 0 else None,
        "signal": _signal_name(-code) if code < 0 else None,
        "cpu_ms": round(ending.cpu_seconds * 1000),
        "peak_memory_bytes": ending.peak_memory_bytes or None,
        "limit_signals": [one.name for one in LIMIT_SIGNALS if one in ending.signals],
    }


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        # Most of the real-time signals have no name.
        return f"SIG{number}"
