"""The image's `python3`, built with sanitizers, against zygotes that fail at each stage. What it
calls the real interpreter is a script here that says that it was called."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.runner.requests import EVENT, BadRequest, Situation, receive

SOURCE = Path(__file__).parents[3] / "image" / "python" / "client.c"
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all"
REAL_STATUS = 42
ANSWER_SECONDS = 0.4


@dataclass
class Client:
    directory: Path
    program: str
    real: Path

    @property
    def socket(self) -> str:
        return str(self.directory / "socket")

    def start(
        self,
        *arguments: str,
        environment: dict[str, str] | None = None,
        stdin: bytes = b"",
        **options: object,
    ) -> subprocess.Popen[bytes]:
        variables = {
            "PATH": f"{self.directory}/bin:/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE": "1",
            **(environment or {}),
        }
        process: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]
            ["python3", *arguments],
            executable=self.program,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )
        return process

    def run(self, *arguments: str, seconds: float = 20, **options: object) -> tuple[int, int]:
        """Its exit status, and how often it called the real interpreter."""
        process = self.start(*arguments, **options)  # type: ignore[arg-type]
        stdout, stderr = process.communicate(timeout=seconds)
        assert b"Sanitizer" not in stderr, stderr.decode()
        assert b"runtime error" not in stderr, stderr.decode()
        return process.returncode, stdout.count(b"real\n")


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("NOT tested, there is no gcc: image/python/client.c")
    directory = tmp_path_factory.mktemp("client")
    real = directory / "real"
    real.write_text(f"#!/bin/sh\necho real\nexit {REAL_STATUS}\n")
    real.chmod(0o755)
    source = SOURCE.read_text()
    for name, value in [
        ("REAL", f'"{real}"'),
        ("BIN", f'"{directory}/bin/"'),
        ("SOCKET", f'"{directory}/socket"'),
        ("ANSWER_MS", str(round(ANSWER_SECONDS * 1000))),
    ]:
        source, count = re.subn(rf"(?m)^#define {name} .*$", f"#define {name} {value}", source)
        assert count == 1, name
    assert source.count('"/opt/venv/bin:"') == 1
    (directory / "client.c").write_text(source.replace('"/opt/venv/bin:"', f'"{directory}/bin:"'))
    command = f"{compiler} -std=gnu11 -g -O1 -Wall -Wextra -Werror {SANITIZERS} -o python3 client.c"
    built = subprocess.run(command.split(), cwd=directory, capture_output=True, check=False)
    if b"cannot find" in built.stderr:
        pytest.skip("NOT tested, gcc has no sanitizers here: image/python/client.c")
    assert built.returncode == 0, built.stderr.decode()
    return Client(directory, str(directory / "python3"), real)


@dataclass
class Server:
    """A zygote that does with each connection what the test wants."""

    client: Client
    serve: Callable[[socket.socket], object]
    failures: list[BaseException] = field(default_factory=list)
    connections: int = 0
    _is_over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        with suppress(FileNotFoundError):
            Path(self.client.socket).unlink()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.client.socket)
        listener.listen()
        listener.settimeout(0.02)
        self._is_over.clear()
        thread = threading.Thread(target=self._accept, args=[listener])
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()
            listener.close()
            Path(self.client.socket).unlink()
        assert not self.failures, self.failures

    def _accept(self, listener: socket.socket) -> None:
        while not self._is_over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            self.connections += 1
            with connection:
                try:
                    self.serve(connection)
                except (BrokenPipeError, ConnectionResetError):
                    pass
                except BaseException as error:  # noqa: BLE001 - it is the test's
                    self.failures.append(error)


def say(connection: socket.socket, what: str, value: int = 0) -> None:
    connection.sendall(EVENT.pack(ord(what), value))


def take(connection: socket.socket) -> Situation:
    situation = receive(connection)
    for descriptor in (situation.directory, *situation.descriptors.values()):
        os.close(descriptor)
    return situation


def with_server(
    client: Client,
    serve: Callable[[socket.socket], object],
    *arguments: str,
    **options: object,
) -> tuple[int, int]:
    server = Server(client, serve)
    with server.running():
        result = client.run(*(arguments or ("-c", "print(1)")), **options)  # type: ignore[arg-type]
        assert server.connections <= 1
    return result


# A process that there cannot be, so that no signal goes astray.
NOBODY = 2**22 + 1
BY_ITSELF = (REAL_STATUS, 1)


# --- it is not served ---


def test_without_a_zygote_it_is_the_real_one(client: Client) -> None:
    assert client.run("-c", "print(1)") == BY_ITSELF


def test_nor_with_what_is_no_socket_or_nobody_listens_at(client: Client) -> None:
    Path(client.socket).write_text("")
    assert client.run("-c", "1") == BY_ITSELF
    Path(client.socket).unlink()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(client.socket)
        assert client.run("-c", "1") == BY_ITSELF
    Path(client.socket).unlink()


def wait_for_end(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


# What a zygote says and does, one after the other, before it is gone.
FAILURES: dict[str, list[bytes | str]] = {
    "gone": [],
    "gone in an event": [EVENT.pack(ord("P"), 1)[:3]],
    "no process": ["B"],
    "unknown": ["x"],
    "gone with a process": ["P"],
    "gone with a byte": ["P", "recv 1"],
    "gone with a part": ["P", "recv 500"],
    "gone with the request": ["P", "take"],
    "gone in beginning": ["P", "take", b"B\0"],
    "ended before": ["P", "take", "E"],
    "stopped before": ["P", "take", "S"],
    "deaf": ["P", "deaf"],
    "silent": ["wait"],
    "silent in an event": [EVENT.pack(ord("P"), 1)[:3], "wait"],
}


def act(connection: socket.socket, action: bytes | str) -> None:
    match action:
        case bytes():
            connection.sendall(action)
        case "take":
            take(connection)
        case "deaf":
            connection.shutdown(socket.SHUT_RD)
        case "wait":
            wait_for_end(connection)
        case "recv 1" | "recv 500":
            connection.recv(int(action[5:]))
        case _:
            say(connection, action, NOBODY)


@pytest.mark.parametrize("actions", FAILURES.values(), ids=FAILURES.keys())
def test_whenever_it_fails_the_real_one_runs_once(
    client: Client, actions: list[bytes | str]
) -> None:
    def serve(connection: socket.socket) -> None:
        for action in actions:
            act(connection, action)

    began = time.monotonic()
    assert with_server(client, serve) == BY_ITSELF
    # More than one patience is never needed, nor twice the sanitizers' own time.
    assert time.monotonic() - began < 10


def test_a_full_queue_is_not_waited_at_for_ever(client: Client) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(client.socket)
        listener.listen(0)
        waiting = []
        while True:
            other = socket.socket(socket.AF_UNIX)
            waiting.append(other)
            other.setblocking(False)
            try:
                other.connect(client.socket)
            except BlockingIOError:
                break
        assert client.run("-c", "1", seconds=10) == BY_ITSELF
        for other in waiting:
            other.close()
    Path(client.socket).unlink()


def test_what_is_not_taken_is_not_waited_with_for_ever(client: Client) -> None:
    def serve(connection: socket.socket) -> None:
        say(connection, "P", 1)
        time.sleep(3 * ANSWER_SECONDS)

    many = {f"V{number}": "x" * 100_000 for number in range(15)}
    assert with_server(client, serve, environment=many) == BY_ITSELF


@pytest.mark.parametrize(
    "arguments",
    [["-I", "-c", "1"], ["-c"], ["-m"], ["-X", "dev"], ["--version"], ["-OO", "x"], ["-cx", "-V"],
     [""], ["-"], ["-u", "-B", "-"], []],
    ids=str,
)  # fmt: skip
def test_it_asks_for_what_it_knows_only(client: Client, arguments: list[str]) -> None:
    known = arguments in (["-cx", "-V"], ["-"], ["-u", "-B", "-"], [])
    served = []

    def serve(connection: socket.socket) -> None:
        say(connection, "P", os.getpid())
        served.append(take(connection))
        say(connection, "B")
        say(connection, "E", 5 << 8)

    assert Server(client, serve).connections == 0
    server = Server(client, serve)
    with server.running():
        assert client.run(*arguments) == ((5, 0) if known else BY_ITSELF)
    assert len(served) == known


# --- it is served ---


def ending(status: int, taken: list[Situation] | None = None) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        say(connection, "P", NOBODY)
        situation = take(connection)
        if taken is not None:
            taken.append(situation)
        say(connection, "B")
        say(connection, "E", status)

    return serve


@pytest.mark.parametrize("code", [0, 1, 3, 126, 255])
def test_it_exits_as_its_program(client: Client, code: int) -> None:
    assert with_server(client, ending(code << 8)) == (code, 0)


@pytest.mark.parametrize("number", [1, 2, 6, 9, 11, 13, 15, 34, 64])
def test_it_dies_as_its_program(client: Client, number: int) -> None:
    assert with_server(client, ending(number)) == (-number, 0)


def test_a_dead_zygote_after_the_beginning_means_no_second_run(client: Client) -> None:
    """It cannot know the status, but waits for the process."""
    sleeper = subprocess.Popen(["sleep", "0.5"])
    reaper = threading.Thread(target=sleeper.wait)
    reaper.start()

    def serve(connection: socket.socket) -> None:
        say(connection, "P", sleeper.pid)
        take(connection)
        say(connection, "B")

    began = time.monotonic()
    assert with_server(client, serve) == (-signal.SIGKILL, 0)
    assert time.monotonic() - began > 0.4
    reaper.join()


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (0, 1, 2)], ids=str)
def test_closed_descriptors_stay_closed(client: Client, closed: Sequence[int]) -> None:
    taken: list[Situation] = []

    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    result = with_server(client, ending(0, taken), preexec_fn=close)
    assert result[0] == 0
    assert sorted(taken[0].descriptors) == sorted({0, 1, 2} - {*closed})


@pytest.mark.parametrize("count", [0, 1, 247, 248, 500])
def test_all_descriptors_come_along_or_none(client: Client, count: int) -> None:
    """Beside the three, up to 250 in all."""
    taken: list[Situation] = []
    null = os.open("/dev/null", os.O_RDONLY)

    def opened() -> None:
        for number in range(count):
            os.dup2(null, 100 + number, inheritable=True)
        # What the tests' own process was given.
        os.closerange(3, 100)
        os.closerange(100 + count, 1024)

    result = with_server(client, ending(0, taken), close_fds=False, preexec_fn=opened)
    os.close(null)
    if count > 247:
        assert (result, taken) == (BY_ITSELF, [])
    else:
        assert result == (0, 0)
        expected = {0, 1, 2, *(100 + number for number in range(count))}
        assert taken[0].descriptors.keys() == expected


def test_long_arguments_and_variables_arrive_whole(client: Client) -> None:
    taken: list[Situation] = []
    arguments = ["-c", "x" * 120_000, *(["ä" * 50_000] * 8), ""]
    many = {f"V{number}": "y" * 100_000 for number in range(8)}

    def slow(connection: socket.socket) -> None:
        say(connection, "P", NOBODY)
        time.sleep(ANSWER_SECONDS / 4)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        taken.append(take(connection))
        say(connection, "B")
        say(connection, "E", 0)

    assert with_server(client, slow, *arguments, environment=many) == (0, 0)
    (situation,) = taken
    assert situation.arguments == [b"python3", *(argument.encode() for argument in arguments)]
    assert (
        situation.environment.items() >= {k.encode(): v.encode() for k, v in many.items()}.items()
    )


def test_the_programs_pipe_ends_with_the_program(client: Client) -> None:
    """Not with the client, which must not hold what it has passed on."""
    closed = threading.Event()

    def serve(connection: socket.socket) -> None:
        say(connection, "P", NOBODY)
        take(connection)
        say(connection, "B")
        assert closed.wait(5)
        say(connection, "E", 0)

    server = Server(client, serve)
    with server.running():
        process = client.start("-c", "1")
        assert process.stdout
        assert process.stdout.read() == b""
        closed.set()
        assert process.wait(10) == 0
        process.communicate()


def test_signals_are_passed_on_to_the_program(client: Client) -> None:
    code = "trap 'exit 7' TERM; trap 'echo usr1 >> got' USR1; echo ready > got\n"
    code += "while :; do sleep 0.02; done"
    got = client.directory / "got"
    got.unlink(missing_ok=True)
    program = subprocess.Popen(["sh", "-c", code], cwd=client.directory, start_new_session=True)

    def serve(connection: socket.socket) -> None:
        say(connection, "P", program.pid)
        take(connection)
        say(connection, "B")
        say(connection, "E", program.wait() << 8)

    def until(text: str) -> None:
        deadline = time.monotonic() + 10
        while not got.exists() or text not in got.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    server = Server(client, serve)
    with server.running():
        until("ready")
        process = client.start("-c", "1", restore_signals=True)
        while not server.connections:
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(signal.SIGUSR1)
        until("usr1")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 7
        process.communicate()


def test_blocked_signals_are_blocked_for_either(client: Client) -> None:
    blocked = [signal.SIGUSR1, signal.SIGTERM]

    def block() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    taken: list[Situation] = []
    assert with_server(client, ending(0, taken), preexec_fn=block) == (0, 0)
    assert taken[0].blocked == {*map(int, blocked)}
    assert signal.SIGHUP in taken[0].ignored
    client.real.rename(client.real.with_suffix(".away"))
    try:
        client.real.write_text("#!/bin/sh\nexec grep -E '^Sig(Blk|Ign)' /proc/self/status\n")
        client.real.chmod(0o755)
        process = client.start("-c", "1", preexec_fn=block)
        stdout, _ = process.communicate()
    finally:
        client.real.with_suffix(".away").rename(client.real)
    masks = {line.split()[0]: int(line.split()[1], 16) for line in stdout.decode().splitlines()}
    assert masks["SigBlk:"] == sum(1 << number - 1 for number in blocked)
    assert masks["SigIgn:"] >> signal.SIGHUP - 1 & 1


def test_to_be_stopped_on_the_way_changes_nothing(client: Client) -> None:
    release = threading.Event()

    def serve(connection: socket.socket) -> None:
        say(connection, "P", NOBODY)
        take(connection)
        assert release.wait(10)
        say(connection, "B")
        say(connection, "E", 3 << 8)

    server = Server(client, serve)
    with server.running():
        process = client.start("-c", "1")
        while not server.connections:
            time.sleep(0.02)
        for _ in range(20):
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.01)
            process.send_signal(signal.SIGCONT)
            time.sleep(0.01)
        release.set()
        stdout, stderr = process.communicate(timeout=10)
    assert (process.returncode, stdout, stderr) == (3, b"", b"")


# --- whatever a zygote may say ---


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    answers=st.lists(
        st.tuples(st.sampled_from("PBExy\0"), st.integers(-(2**31), 2**31 - 1)), max_size=4
    ),
    rest=st.binary(max_size=7),
    reads=st.booleans(),
)
def test_any_answers_end_in_one_run_at_most(
    client: Client, answers: list[tuple[str, int]], rest: bytes, reads: bool
) -> None:
    numbered = [(what, NOBODY if what == "P" else value) for what, value in answers]

    def serve(connection: socket.socket) -> None:
        for what, value in numbered:
            say(connection, what, value)
            if what == "P" and reads:
                with suppress(BadRequest):
                    take(connection)
        connection.sendall(rest)

    status, calls = with_server(client, serve)
    began = [what for what, _ in numbered][:2] == ["P", "B"]
    if began and not reads:
        # Nobody took what it was to run: it may have found that out before it read the answer.
        assert calls == 0 or (status, calls) == BY_ITSELF
    elif began:
        assert calls == 0
    else:
        assert (status, calls) == BY_ITSELF


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    arguments=st.lists(
        st.sampled_from(["-", "-c", "-m", "-u", "-B", "-uB", "-Bc", "--", "-x", "a"])
        | st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=5),
        max_size=6,
    ),
    variables=st.dictionaries(
        st.sampled_from(["PYTHONUNBUFFERED", "PYTHONPATH", "LD_X", "A", "MALLOC_X", "PYTHONX"]),
        st.sampled_from(["", "0", "1", "x", "=", "a" * 1000]),
        max_size=3,
    ),
)
def test_what_it_sends_is_always_a_request(
    client: Client, arguments: list[str], variables: dict[str, str]
) -> None:
    taken: list[Situation] = []
    status = with_server(client, ending(0, taken), *(arguments or ["-"]), environment=variables)
    assert status == ((0, 0) if taken else BY_ITSELF)
    for situation in taken:
        assert situation.arguments[1:] == [each.encode() for each in arguments or ["-"]]
