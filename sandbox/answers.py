"""What a container answers, believed only where it is within what was asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NoReturn, cast, get_args

from sandbox.errors import ContainerLost, ProtocolError, WorkspaceFull
from sandbox.runner.names import is_safe_name
from sandbox.runner.protocol import Control

Reason = Literal["exit", "timeout", "cancelled"]

SHA256 = re.compile(r"[0-9a-f]{64}")
SIGNAL = re.compile(r"SIG[A-Z0-9+]{1,12}")
# Of what a process died that was at the end of its CPU time, or of a file's size.
LIMIT_SIGNALS = ("SIGXCPU", "SIGXFSZ")
# The directories, of which there was no room or no place for another file left.
FULL = (
    "workspace_bytes", "workspace_inodes", "tmp_bytes", "tmp_inodes", "shm_bytes", "shm_inodes",
)  # fmt: skip
SKIP_LIMITS = ("max_files", "file_bytes", "total_bytes")
SKIP_REASONS = ("max_files", "depth", "size", "path", "unreadable")
MAX_SKIPPED_NAMES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    version: str
    languages: tuple[str, ...]
    # Its preloaded interpreter is ready.
    hot: bool
    # How many programs that has run.
    served: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    exit_code: int | None
    signal: str | None
    reason: Reason
    oom_kills: int
    # Processes and threads that could not be made.
    refused_forks: int
    limit_signals: frozenset[str]
    full: frozenset[str]
    stdout: bytes
    stderr: bytes
    # What the program wrote; more than came means that the rest was cut.
    stdout_bytes: int
    stderr_bytes: int
    wall_ms: int
    cpu_ms: int
    # Of the largest process.
    peak_memory_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    name: str
    size: int
    sha256: str
    executable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Files that were not collected: how many for which reason, the first names, and which of the
    request's limits kept them out."""

    reasons: dict[str, int]
    names: list[str]
    limits: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectLimits:
    max_files: int
    file_bytes: int
    total_bytes: int
    depth: int
    path_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectRequest:
    """What to fetch from a workspace. `known` maps names to the SHA-256 of what needs no bytes."""

    known: Mapping[str, str]
    limits: CollectLimits

    def message(self) -> Control:
        return {"known": dict(self.known), **asdict(self.limits)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    entries: list[Entry]
    skipped: Skipped
    # Of the known names those that are still there but were skipped: neither changed nor deleted.
    kept_back: frozenset[str]


def check(answer: Control) -> Control:
    """The answer, unless it is an error."""
    if answer.get("error") == "full":
        limits = _known(answer.get("limits", []), FULL)
        raise WorkspaceFull(_text(answer.get("message")), limits=limits)
    if "error" in answer:
        raise ContainerLost(f"The container failed: {_text(answer.get('message'))}")
    return answer


def hello(answer: Control) -> Hello:
    languages = [_text(language) for language in _list(answer, "languages")]
    return Hello(
        version=_text(answer.get("version")),
        languages=tuple(languages),
        hot=answer.get("hot") is True,
        # An older runner does not say, and is to be told apart by its version.
        served=_count(answer, "served") if "served" in answer else 0,
    )


def run_result(answer: Control, stdout: bytes, stderr: bytes) -> RunResult:
    exit_code, signal = answer.get("code"), answer.get("signal")
    if signal is None:
        exit_code = _count(answer, "code")
    elif exit_code is not None or not (isinstance(signal, str) and SIGNAL.fullmatch(signal)):
        _refuse("signal")
    peak = answer.get("peak_memory_bytes")
    result = RunResult(
        exit_code=exit_code,
        signal=signal,
        reason=_reason(answer.get("reason")),
        oom_kills=_count(answer, "oom_kills"),
        refused_forks=_count(answer, "refused_forks"),
        limit_signals=_known(answer.get("limit_signals"), LIMIT_SIGNALS),
        full=_known(answer.get("full"), FULL),
        stdout=stdout,
        stderr=stderr,
        stdout_bytes=_count(answer, "stdout_bytes"),
        stderr_bytes=_count(answer, "stderr_bytes"),
        wall_ms=_count(answer, "wall_ms"),
        cpu_ms=_count(answer, "cpu_ms"),
        peak_memory_bytes=None if peak is None else _count(answer, "peak_memory_bytes"),
    )
    if result.stdout_bytes < len(stdout) or result.stderr_bytes < len(stderr):
        _refuse("output sizes")
    return result


def collection(answer: Control, request: CollectRequest) -> Collection:
    known, limits = request.known, request.limits
    entries = [_entry(value, limits) for value in _list(answer, "files")]
    kept_back = {name for name in _list(answer, "kept_back") if isinstance(name, str)}
    if (
        len({entry.name for entry in entries}) != len(entries)
        or len(entries) > limits.max_files
        or sum(entry.size for entry in entries) > limits.total_bytes
        or not known.keys() >= kept_back
    ):
        _refuse("files")
    return Collection(entries=entries, skipped=_skipped(answer), kept_back=frozenset(kept_back))


def _entry(value: Any, limits: CollectLimits) -> Entry:
    if not isinstance(value, dict):
        _refuse("files")
    name, sha256 = value.get("name"), value.get("sha256")
    size = _count(value, "size")
    if (
        not (isinstance(name, str) and is_safe_name(name))
        or len(name.encode()) > limits.path_bytes
        or not (isinstance(sha256, str) and SHA256.fullmatch(sha256))
        or size > limits.file_bytes
    ):
        _refuse("files")
    return Entry(name=name, size=size, sha256=sha256, executable=value.get("executable") is True)


def _skipped(answer: Control) -> Skipped:
    skipped = answer.get("skipped")
    if not isinstance(skipped, dict) or not isinstance(skipped.get("reasons"), dict):
        _refuse("skipped")
    reasons = {
        reason: _count(skipped["reasons"], reason)
        for reason in SKIP_REASONS
        if reason in skipped["reasons"]
    }
    names = [_text(name) for name in _list(skipped, "names")]
    limits = _known(skipped.get("limits"), SKIP_LIMITS)
    return Skipped(reasons=reasons, names=names[:MAX_SKIPPED_NAMES], limits=limits)


def _reason(value: Any) -> Reason:
    for reason in get_args(Reason):
        if value == reason:
            return cast(Reason, reason)
    _refuse("reason")


def _count(values: Mapping[str, Any], key: str) -> int:
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        _refuse(key)
    return value


def _list(values: Mapping[str, Any], key: str) -> list[Any]:
    value = values.get(key)
    if not isinstance(value, list):
        _refuse(key)
    return value


def _known(value: Any, words: tuple[str, ...]) -> frozenset[str]:
    """A list of some of these words."""
    if not isinstance(value, list) or not all(word in words for word in value):
        _refuse("words")
    return frozenset(value)


def _text(value: Any) -> str:
    """Printable, whatever it was."""
    if not isinstance(value, str):
        _refuse("text")
    return "".join(char if char.isprintable() else "\ufffd" for char in value[:1024])


def _refuse(what: str) -> NoReturn:
    raise ProtocolError(f"The container's answer is not valid: {what}")
