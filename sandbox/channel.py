"""Our end of the runner protocol: what a server may ask of a sandbox container.

Nothing that comes back is trusted. Whatever is late, short or wrong ends in `ContainerLost`. Any
exception but `WorkspaceFull` leaves a request half done: the container must then be discarded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import BinaryIO, Protocol, Self

from sandbox import answers
from sandbox.answers import (
    Collection,
    CollectLimits,
    CollectRequest,
    Entry,
    Hello,
    RunResult,
    Skipped,
)
from sandbox.engines.base import Attachment
from sandbox.errors import ContainerLost, ProtocolError, RunnerMismatch
from sandbox.runner.protocol import CONTROL, DATA, MAX_DATA, STDERR, STDOUT, VERSION, Control
from sandbox.wire import Wire, control, nothing

__all__ = [
    "Channel",
    "CollectLimits",
    "CollectRequest",
    "Collection",
    "Entry",
    "Fence",
    "Hello",
    "OutputSoFar",
    "PutFile",
    "RunLimits",
    "RunResult",
    "Skipped",
]

# No request but `run` takes longer than this and the time for its bytes at a crawling pace.
ANSWER_SECONDS = 60.0
SLOWEST_BYTES_PER_SECOND = 2 * 1024 * 1024
# The runner ends a run by its own clock; ours comes later, for a runner that cannot.
RUN_GRACE_SECONDS = 15.0
CANCEL_SECONDS = 15.0


class Writable(Protocol):
    def write(self, data: bytes, /) -> object: ...


Sink = Callable[[Entry], AbstractContextManager[Writable]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    wall_seconds: float
    output_bytes: int
    # Of each process.
    cpu_seconds: int
    open_files: int
    file_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PutFile:
    name: str
    size: int
    executable: bool
    read_only: bool
    open: Callable[[], AbstractContextManager[BinaryIO]]

    @property
    def mode(self) -> int:
        if self.executable:
            return 0o555 if self.read_only else 0o755
        return 0o444 if self.read_only else 0o644


@dataclass(frozen=True, slots=True)
class OutputSoFar:
    """Grows while a run goes on, for who looks on from `abandoned`."""

    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class Fence:
    """Keeps a use off a container that was used since its row was written. A crash of Postgres can
    take back that a run had claimed it; the container itself knows."""

    # The last use that the row knows of, and this one.
    last: str
    use: str


class Channel:
    """One use of a container. Closes for good, since an open attachment blocks the next.

    `heartbeat` is called about every second while a request lasts; what it raises ends the use.
    """

    def __init__(
        self,
        attachment: Attachment,
        *,
        heartbeat: Callable[[], None] = nothing,
        fence: Fence | None = None,
    ) -> None:
        self._wire = Wire(attachment, heartbeat)
        # With every request: which one is the first depends on the run.
        self._fence: Control = {"fence": asdict(fence)} if fence else {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._wire.close()

    def hello(self, timeout: float, *, hot_within: float = 0.0) -> Hello:
        """Wait until the runner is up, and then so long for its preloaded interpreter. A runner of
        another version than ours is of no use."""
        message = {"verb": "hello", "hot_within": hot_within}
        hello = answers.hello(self._ask(message, timeout + hot_within))
        if hello.version != VERSION:
            raise RunnerMismatch(
                f"The sandbox image holds runner {hello.version}, this server speaks with "
                f"{VERSION}. Run script/bootstrap to rebuild the image."
            )
        return hello

    def put(self, files: Sequence[PutFile]) -> None:
        """Write files, in place of whatever has their names. On `WorkspaceFull` some are there."""
        manifest = [{"name": file.name, "size": file.size, "mode": file.mode} for file in files]
        seconds = _patience(sum(file.size for file in files))
        self._open({"verb": "put", "files": manifest}, seconds)
        for file in files:
            self._send_file(file)
        self._answer()

    def remove(self, names: Sequence[str]) -> None:
        """Remove files, and the directories that become empty by it."""
        self._ask({"verb": "remove", "names": list(names)}, ANSWER_SECONDS)

    def reset(self) -> None:
        """Make the container as good as new."""
        self._ask({"verb": "reset"}, ANSWER_SECONDS)

    def run(
        self,
        *,
        language: str,
        code: bytes,
        args: Sequence[str],
        limits: RunLimits,
        abandoned: Callable[[], bool],
        output: OutputSoFar | None = None,
        then_collect: CollectRequest | None = None,
    ) -> RunResult:
        """Run a program to its end. Once `abandoned` says so, it is killed and the result's
        reason is "cancelled". What is to be collected comes without being asked for again, and
        must be taken by `receive_collection`."""
        self._open(
            {
                "verb": "run",
                "language": language,
                "code_bytes": len(code),
                "args": list(args),
                **asdict(limits),
                **({"collect": then_collect.message()} if then_collect else {}),
            },
            limits.wall_seconds + RUN_GRACE_SECONDS + _patience(len(code)),
            code[:MAX_DATA],
        )
        for start in range(MAX_DATA, len(code), MAX_DATA):
            self._wire.send(DATA, code[start : start + MAX_DATA])
        return self._follow(limits.output_bytes, abandoned, output or OutputSoFar())

    def collect(self, request: CollectRequest, sink: Sink) -> Collection:
        """What is in the workspace. The bytes of every file that is not known go to `sink`, whose
        context ends with an exception unless they are what was announced."""
        message = {"verb": "collect", **request.message()}
        self._open(message, _patience(request.limits.total_bytes))
        return self._receive_collection(request, sink)

    def receive_collection(self, request: CollectRequest, sink: Sink) -> Collection:
        """The same, after a run that was told to go on with it."""
        self._wire.extend(_patience(request.limits.total_bytes))
        return self._receive_collection(request, sink)

    def _receive_collection(self, request: CollectRequest, sink: Sink) -> Collection:
        collection = answers.collection(self._answer(), request)
        for entry in collection.entries:
            if request.known.get(entry.name) != entry.sha256:
                with sink(entry) as out:
                    self._receive_file(entry, out)
        return collection

    def _ask(self, message: Control, seconds: float) -> Control:
        self._open(message, seconds)
        return self._answer()

    def _open(self, message: Control, seconds: float, data: bytes = b"") -> None:
        self._wire.open_request(message | self._fence, seconds=seconds, data=data)

    def _answer(self) -> Control:
        return answers.check(control(*self._wire.receive()))

    def _send_file(self, file: PutFile) -> None:
        remaining = file.size
        with file.open() as source:
            while remaining:
                chunk = source.read(min(remaining, MAX_DATA))
                if not chunk:
                    raise ContainerLost("A file is shorter than its recorded size")
                self._wire.send(DATA, chunk)
                remaining -= len(chunk)

    def _receive_file(self, entry: Entry, out: Writable) -> None:
        digest = hashlib.sha256()
        remaining = entry.size
        while remaining:
            kind, chunk = self._wire.receive()
            if kind != DATA or not 0 < len(chunk) <= remaining:
                raise ProtocolError("The container did not send the file it announced")
            out.write(chunk)
            digest.update(chunk)
            remaining -= len(chunk)
        if digest.hexdigest() != entry.sha256:
            raise ProtocolError("The container sent other bytes than it announced")

    def _follow(
        self, output_bytes: int, abandoned: Callable[[], bool], so_far: OutputSoFar
    ) -> RunResult:
        """The program's output as it comes, until the runner says how it ended."""
        output = {STDOUT: so_far.stdout, STDERR: so_far.stderr}
        cancelled = False

        def watch() -> None:
            nonlocal cancelled
            if not cancelled and abandoned():
                cancelled = True
                self._wire.hurry(CANCEL_SECONDS)
                self._wire.say({"verb": "cancel"})

        while True:
            kind, payload = self._wire.receive(watch)
            if kind == CONTROL:
                answer = answers.check(control(kind, payload))
                return answers.run_result(answer, bytes(output[STDOUT]), bytes(output[STDERR]))
            if kind not in output or len(output[kind]) + len(payload) > output_bytes:
                raise ProtocolError("The container sent more output than it may")
            output[kind] += payload


def _patience(size: int) -> float:
    return ANSWER_SECONDS + size / SLOWEST_BYTES_PER_SECOND
