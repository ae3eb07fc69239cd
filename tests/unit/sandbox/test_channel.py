"""A container that does not keep to the protocol is believed in nothing."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sandbox.channel import (
    Channel,
    Collection,
    CollectLimits,
    CollectRequest,
    Entry,
    PutFile,
    RunLimits,
    RunResult,
)
from sandbox.errors import ContainerLost, ProtocolError, RunnerMismatch, WorkspaceFull
from sandbox.runner.protocol import (
    CONTROL,
    DATA,
    HEADER,
    MAX_CONTROL,
    MAX_DATA,
    STDERR,
    STDOUT,
    VERSION,
    Control,
    pack,
    pack_control,
    parse_control,
)
from tests.fakes.attachment import ScriptedAttachment, SilentAttachment

SHA256 = hashlib.sha256(b"12345").hexdigest()
FILE = {"name": "dir/a.txt", "size": 5, "sha256": SHA256, "executable": False}
MANIFEST: Control = {
    "files": [FILE],
    "skipped": {"reasons": {}, "names": [], "limits": []},
    "kept_back": [],
}
ENDED: Control = {
    "code": 0,
    "signal": None,
    "reason": "exit",
    "oom_kills": 0,
    "refused_forks": 0,
    "limit_signals": [],
    "full": [],
    "stdout_bytes": 3,
    "stderr_bytes": 0,
    "wall_ms": 1,
    "cpu_ms": 1,
    "peak_memory_bytes": None,
}

LIMITS = RunLimits(wall_seconds=1, output_bytes=10, cpu_seconds=1, open_files=100, file_bytes=1000)
Answer = list[tuple[int, bytes] | Control | bytes]


def run(*answer: tuple[int, bytes] | Control | bytes) -> RunResult:
    with Channel(ScriptedAttachment(list(answer))) as channel:
        return channel.run(
            language="py",
            code=b"",
            args=(),
            limits=LIMITS,
            abandoned=lambda: False,
        )


@contextmanager
def nowhere(entry: Entry) -> Iterator[io.BytesIO]:
    yield io.BytesIO()


def collect(
    *answer: tuple[int, bytes] | Control | bytes, known: dict[str, str] | None = None
) -> tuple[Collection, dict[str, bytes]]:
    kept: dict[str, bytes] = {}

    @contextmanager
    def sink(entry: Entry) -> Iterator[io.BytesIO]:
        out = io.BytesIO()
        yield out
        kept[entry.name] = out.getvalue()

    with Channel(ScriptedAttachment(list(answer))) as channel:
        return channel.collect(request(known), sink), kept


def request(known: dict[str, str] | None = None) -> CollectRequest:
    limits = CollectLimits(max_files=2, file_bytes=10, total_bytes=12, depth=3, path_bytes=20)
    return CollectRequest(known=known or {}, limits=limits)


def test_an_image_with_another_runner_says_what_to_do() -> None:
    with pytest.raises(RunnerMismatch, match="script/bootstrap"):
        Channel(ScriptedAttachment([{"version": "older", "languages": []}])).hello(1)


@pytest.mark.parametrize(("said", "hot"), [(True, True), (False, False), (1, False), (None, False)])
def test_a_container_is_hot_only_if_it_says_so(said: object, hot: bool) -> None:
    attachment = ScriptedAttachment(
        [{"version": VERSION, "languages": [], "hot": said, "served": 0}]
    )
    assert Channel(attachment).hello(1, hot_within=2.5).hot is hot
    assert parse_control(attachment.sent[0][1]) == {"verb": "hello", "hot_within": 2.5}


def test_frames_of_former_requests_are_skipped() -> None:
    stale = pack_control(1, {"version": "stale"}) + pack(DATA, 2, b"x" * 100)
    attachment = ScriptedAttachment([stale, {"version": VERSION, "languages": ["py"]}])
    assert Channel(attachment).hello(5).languages == ("py",)


@pytest.mark.parametrize(
    "answer",
    [
        HEADER.pack(MAX_CONTROL + 1, 0, CONTROL),
        HEADER.pack(MAX_DATA + 1, 0, DATA),
        HEADER.pack(1, 0, 4),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
    ids=["long control", "long data", "unknown type", "not a frame"],
)
def test_what_is_no_frame_ends_the_use(answer: bytes) -> None:
    with pytest.raises(ProtocolError):
        Channel(ScriptedAttachment([answer])).hello(1)


@pytest.mark.parametrize(
    "payload",
    [b"{", b"[]", b"\xff", b"[" * 100_000, b'{"version": 1, "languages": []}', b"{}"],
)
def test_an_answer_that_makes_no_sense_ends_the_use(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        Channel(ScriptedAttachment([(CONTROL, payload)])).hello(1)


def test_a_container_that_hangs_up_is_lost() -> None:
    with pytest.raises(ContainerLost, match="gone"):
        Channel(ScriptedAttachment([b"\0\0"])).hello(1)


def test_a_container_that_says_nothing_is_given_up() -> None:
    with pytest.raises(ContainerLost, match="in time"):
        Channel(SilentAttachment()).hello(0.1)


def test_an_error_is_raised_with_its_message_made_printable() -> None:
    error: Control = {"error": "failed", "message": "no \x1b[31mluck"}
    with pytest.raises(ContainerLost, match="no \ufffd"):
        Channel(ScriptedAttachment([error])).remove(["x"])
    with pytest.raises(WorkspaceFull, match="no room"):
        Channel(ScriptedAttachment([{"error": "full", "message": "no room"}])).put([])


def test_leaving_closes_the_attachment() -> None:
    attachment = ScriptedAttachment()
    with pytest.raises(ContainerLost), Channel(attachment) as channel:
        channel.hello(1)
    assert attachment.closed


def test_output_is_kept_apart_and_in_order() -> None:
    result = run((STDOUT, b"a"), (STDERR, b"x"), (STDOUT, b"bc"), {**ENDED, "stderr_bytes": 9})
    assert (result.stdout, result.stderr, result.stderr_bytes) == (b"abc", b"x", 9)


@pytest.mark.parametrize(
    "frames",
    [[(STDOUT, b"x" * 11)], [(STDERR, b"x" * 6), (STDERR, b"x" * 5)], [(DATA, b"x")]],
    ids=["too much", "too much together", "no output"],
)
def test_more_output_than_allowed_ends_the_use(frames: list[tuple[int, bytes]]) -> None:
    with pytest.raises(ProtocolError):
        run(*frames, ENDED)


@pytest.mark.parametrize(
    "wrong",
    [
        {"code": None},
        {"code": "0"},
        {"code": -1},
        {"code": True},
        {"signal": "SIGKILL"},
        {"code": None, "signal": "sig\nkill"},
        {"code": None, "signal": 9},
        {"reason": "because"},
        {"reason": None},
        {"oom_kills": None},
        {"oom_kills": -1},
        {"refused_forks": None},
        {"limit_signals": None},
        {"limit_signals": ["SIGKILL"]},
        {"full": "tmp_bytes"},
        {"full": ["the moon"]},
        {"full": [["tmp_bytes"]]},
        {"stdout_bytes": 2},
        {"stdout_bytes": 2**60},
        {"wall_ms": 1.5},
        {"cpu_ms": []},
        {"peak_memory_bytes": "1"},
    ],
)
def test_a_report_that_makes_no_sense_ends_the_use(wrong: dict[str, Any]) -> None:
    assert run((STDOUT, b"abc"), ENDED).exit_code == 0
    with pytest.raises(ProtocolError):
        run((STDOUT, b"abc"), {**ENDED, **wrong})


def test_a_program_is_cancelled_once_when_it_is_abandoned() -> None:
    attachment = ScriptedAttachment([(STDOUT, b"abc"), {**ENDED, "reason": "cancelled"}])
    result = Channel(attachment).run(
        language="py",
        code=b"pass",
        args=("a",),
        limits=LIMITS,
        abandoned=lambda: True,
    )
    assert result.reason == "cancelled"
    request, code, *cancels = attachment.sent
    assert b'"args":["a"]' in request[1]
    assert code == (DATA, b"pass")
    assert cancels == [(CONTROL, b'{"verb":"cancel"}')]


def test_files_come_with_their_bytes() -> None:
    collection, kept = collect(MANIFEST, (DATA, b"123"), (DATA, b"45"))
    assert [entry.name for entry in collection.entries] == ["dir/a.txt"]
    assert kept == {"dir/a.txt": b"12345"}


def test_known_files_come_without() -> None:
    assert collect(MANIFEST, known={"dir/a.txt": SHA256})[1] == {}


@pytest.mark.parametrize(
    "frames",
    [[(DATA, b"12346")], [(DATA, b"123456")], [(DATA, b"")], [(STDOUT, b"12345")], [MANIFEST]],
    ids=["other bytes", "too many", "none", "output", "another answer"],
)
def test_bytes_other_than_announced_are_not_kept(frames: Answer) -> None:
    with pytest.raises(ProtocolError):
        collect(MANIFEST, *frames)


@pytest.mark.parametrize(
    "wrong",
    [
        {"files": None},
        {"files": [7]},
        {"files": [FILE, FILE]},
        {"files": [{**FILE, "name": name} for name in ("a", "b", "c")]},
        {"files": [{**FILE, "name": name, "size": 7} for name in ("a", "b")]},
        {"files": [{**FILE, "size": 11}]},
        {"files": [{**FILE, "size": -1}]},
        {"files": [{**FILE, "size": None}]},
        {"files": [{**FILE, "sha256": SHA256.upper()}]},
        {"files": [{**FILE, "sha256": "../x"}]},
        {"skipped": None},
        {"skipped": {"reasons": {"size": -1}, "names": []}},
        {"skipped": {"reasons": {}, "names": [7]}},
        {"kept_back": ["unknown"]},
        {"kept_back": None},
    ],
)
def test_a_manifest_that_makes_no_sense_ends_the_use(wrong: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        collect({**MANIFEST, **wrong}, (DATA, b"12345"))


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "", "a\0b", "a\nb", "a\\b"),
        *("x" * 21, "\ud800", "\x9b", 7, None),
    ],
)
def test_unsafe_names_end_the_use(name: object) -> None:
    with pytest.raises(ProtocolError):
        collect({**MANIFEST, "files": [{**FILE, "name": name}]}, (DATA, b"12345"))


def test_reasons_nobody_knows_are_left_out_and_names_made_printable() -> None:
    reasons = {"size": 3, "boredom": 4}
    skipped = {"reasons": reasons, "names": ["a\x1bb", *"x" * 30], "limits": ["file_bytes"]}
    collection, _ = collect({**MANIFEST, "files": [], "skipped": skipped})
    assert collection.skipped.reasons == {"size": 3}
    assert collection.skipped.limits == {"file_bytes"}
    assert collection.skipped.names == ["a\ufffdb", *"x" * 19]


def test_a_stored_file_that_is_too_short_is_not_completed() -> None:
    short = PutFile(
        name="a", size=5, executable=False, read_only=False, open=lambda: io.BytesIO(b"1234")
    )
    with pytest.raises(ContainerLost, match="shorter"):
        Channel(ScriptedAttachment([{"ok": True}])).put([short])


def test_a_request_too_large_for_a_frame_is_refused() -> None:
    with pytest.raises(ProtocolError, match="too large"):
        Channel(ScriptedAttachment()).remove(["x" * 1000] * 5000)


def run_and_collect(*answer: tuple[int, bytes] | Control | bytes) -> tuple[RunResult, Collection]:
    attachment = ScriptedAttachment(list(answer))
    with Channel(attachment) as channel:
        result = channel.run(
            language="py",
            code=b"",
            args=(),
            limits=LIMITS,
            abandoned=lambda: False,
            then_collect=request({"a": SHA256}),
        )
        collection = channel.receive_collection(request({"a": SHA256}), nowhere)
    [(_, asked)] = attachment.sent
    assert parse_control(asked)["collect"] == request({"a": SHA256}).message()
    return result, collection


def test_what_a_run_left_comes_without_being_asked_for_again() -> None:
    result, collection = run_and_collect((STDOUT, b"abc"), ENDED, MANIFEST, (DATA, b"12345"))
    assert result.stdout == b"abc"
    assert [entry.name for entry in collection.entries] == ["dir/a.txt"]


@pytest.mark.parametrize("rest", [[], [{"error": "bad_request", "message": "no"}], [ENDED]])
def test_a_run_that_does_not_go_on_with_the_files_is_no_run(rest: list[Control]) -> None:
    with pytest.raises(ContainerLost):
        run_and_collect((STDOUT, b"abc"), ENDED, *rest)


def test_a_program_is_sent_together_with_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    attachment = ScriptedAttachment([ENDED])
    sent: list[bytes] = []
    send = attachment.send

    def noting(data: bytes) -> None:
        sent.append(data)
        send(data)

    monkeypatch.setattr(attachment, "send", noting)
    code = b"x" * (MAX_DATA + 1)
    Channel(attachment).run(
        language="py",
        code=code,
        args=(),
        limits=LIMITS,
        abandoned=lambda: False,
    )
    assert len(sent) == 2
    assert [(kind, len(data)) for kind, data in attachment.sent[1:]] == [
        (DATA, MAX_DATA),
        (DATA, 1),
    ]
