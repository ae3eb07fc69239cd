"""The engine away, or not itself."""

from __future__ import annotations

import gc
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sandbox.confinement import confinement
from sandbox.engines.docker import DockerEngine
from sandbox.engines.hijacked import PIECE, HijackedConnection
from sandbox.errors import ContainerLost, EngineUnavailable

CALLS: dict[str, Callable[[DockerEngine], object]] = {
    "create": lambda engine: engine.create("x", labels={}, confinement=confinement()),
    "attach": lambda engine: engine.attach("x"),
    "limit_cpu": lambda engine: engine.limit_cpu("x", 1),
    "remove": lambda engine: engine.remove("x"),
    "list": lambda engine: engine.list(),
    "death": lambda engine: engine.death("x"),
    "ping": lambda engine: engine.ping(),
}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture(params=list(CALLS))
def call(request: pytest.FixtureRequest) -> Callable[[DockerEngine], object]:
    return CALLS[request.param]


def test_an_engine_that_is_not_there_is_unavailable(
    call: Callable[[DockerEngine], object],
    listener: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = listener.getsockname()[1]
    listener.close()
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
    with pytest.raises(EngineUnavailable):
        call(DockerEngine())


# docker-py leaves the socket open with which it could not connect.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_so_is_one_that_has_no_socket(
    call: Callable[[DockerEngine], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(EngineUnavailable):
        call(DockerEngine())
    gc.collect()


def test_so_is_one_that_does_not_answer(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{listener.getsockname()[1]}")
    began = time.monotonic()
    with pytest.raises(EngineUnavailable):
        DockerEngine(call_seconds=1).list()
    assert time.monotonic() - began < 5


Answering = Callable[[bytes], DockerEngine]


@pytest.fixture
def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    """An engine on a Unix socket that knows its version and answers all else as it is told to."""
    path = str(tmp_path / "docker.sock")
    version = b'{"ApiVersion": "1.41"}'
    known = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (
        len(version),
        version,
    )
    threads = []

    def serve(listener: socket.socket, answer: bytes) -> None:
        for pieces in ((known,), (answer[:30], answer[30:])):
            client, _ = listener.accept()
            with client, suppress(OSError):
                client.recv(4096)
                # One of them ends within the empty line.
                for piece in pieces:
                    client.sendall(piece)
                    time.sleep(0.02)
                client.shutdown(socket.SHUT_WR)
                while pieces != (known,) and client.recv(4096):
                    pass

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")

        def start(answer: bytes) -> DockerEngine:
            threads.append(threading.Thread(target=serve, args=[listener, answer], daemon=True))
            threads[-1].start()
            return DockerEngine(call_seconds=2)

        yield start


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("status", ["101 UPGRADED", "200 OK"])
def test_what_follows_the_upgrade_is_the_containers(answering: Answering, status: str) -> None:
    said = PIECE.pack(1, 5) + b"hello"
    engine = answering(f"HTTP/1.1 {status}\r\nUpgrade: tcp\r\n\r\n".encode() + said)
    attachment = engine.attach("x")
    assert attachment.recv(1) == b"hello"
    attachment.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\nNo such container: x", ContainerLost),
        (b"HTTP/1.1 409 Conflict\r\n\r\nx is not running", ContainerLost),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\nno more of it", EngineUnavailable),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n\r\n", EngineUnavailable),
        (b"HTTP/1.1 101 UPGRADED\r\nUpgrade:", EngineUnavailable),
        (b"", EngineUnavailable),
    ],
)
def test_an_engine_that_does_not_attach_says_why(
    answering: Answering, answer: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        answering(answer).attach("x")


@pytest.fixture
def connection() -> Iterator[tuple[HijackedConnection, socket.socket, list[bool]]]:
    ours, theirs = socket.socketpair()
    alive = [True]
    yield HijackedConnection(ours, is_alive=lambda: alive[0]), theirs, alive
    ours.close()
    theirs.close()


Hijacked = tuple[HijackedConnection, socket.socket, list[bool]]


def test_pieces_are_put_together_and_stderr_is_logged(
    connection: Hijacked, caplog: pytest.LogCaptureFixture
) -> None:
    attachment, theirs, _ = connection
    stream = PIECE.pack(1, 3) + b"abc" + PIECE.pack(2, 6) + b"oh\x1bno\n" + PIECE.pack(1, 2) + b"de"
    received = b""
    for index in range(len(stream)):
        theirs.send(stream[index : index + 1])
        try:
            received += attachment.recv(0.001)
        except TimeoutError:
            continue
    assert received == b"abcde"
    assert "oh\\x1bno" in caplog.text
    theirs.close()
    assert attachment.recv(1) == b""


def test_complaints_do_not_pass_for_an_answer_and_are_logged_for_a_while(
    connection: Hijacked, caplog: pytest.LogCaptureFixture
) -> None:
    attachment, theirs, _ = connection
    theirs.sendall((PIECE.pack(2, 1000) + b"!" * 1000) * 40)
    with pytest.raises(TimeoutError):
        attachment.recv(0.05)
    assert 10_000 < caplog.text.count("!") < 20_000


def test_silence_of_a_dead_container_is_its_end(connection: Hijacked) -> None:
    attachment, _, alive = connection
    with pytest.raises(TimeoutError):
        attachment.recv(0.01)
    alive[0] = False
    attachment._question_due = 0
    assert attachment.recv(0.01) == b""


def test_a_dead_container_takes_nothing(connection: Hijacked) -> None:
    attachment, _, alive = connection
    alive[0] = False
    began = time.monotonic()
    with pytest.raises(ContainerLost):
        attachment.send(bytes(10_000_000))
    assert time.monotonic() - began < 5


def test_closing_ends_the_connection(connection: Hijacked) -> None:
    attachment, theirs, _ = connection
    attachment.close()
    assert theirs.recv(1) == b""
    with pytest.raises(ContainerLost):
        attachment.send(b"x")
    assert attachment.recv(1) == b""


def test_one_connection_is_kept_however_many_containers_are_asked_about(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with engine_at(tmp_path / "docker.sock") as connections:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
        engine = DockerEngine()
        for number in range(30):
            assert engine.death(f"container-{number}") is None
        assert sum(not has_ended(connection) for connection in connections) <= 2


@contextmanager
def engine_at(path: Path) -> Iterator[list[socket.socket]]:
    """It says of every container that it runs; yields the connections that were made to it."""
    accepted: list[socket.socket] = []
    body = json.dumps({"ApiVersion": "1.41", "State": {"Running": True}}).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    def serve(connection: socket.socket) -> None:
        with suppress(OSError):
            while connection.recv(65536):
                connection.sendall(answer)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                accepted.append(connection)
                threading.Thread(target=serve, args=[connection], daemon=True).start()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        acceptor = threading.Thread(target=accept, args=[listener])
        acceptor.start()
        try:
            yield accepted
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for connection in accepted:
                connection.close()


def has_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
