"""Containers and their loss: the same tests on the fake and on the real engine."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
from pytest_django import Settings

from audit.ids import new_id
from sandbox.channel import Channel, Fence
from sandbox.confinement import confinement
from sandbox.engines.base import Death, Engine
from sandbox.engines.docker import INSTALLATION_LABEL, DockerEngine
from sandbox.errors import ContainerLost, EngineUnavailable
from sandbox.runner.protocol import DATA, HEADER, VERSION
from sandbox.wire import control
from tests.containers import Sandbox, put_file, run_limits, started

LIMITS = run_limits(wall_seconds=20, output_bytes=1000)


@pytest.fixture
def installation(settings: Settings) -> str:
    name = f"test-{new_id()}"
    settings.SANDBOX_INSTALLATION = name
    return name


def test_the_containers_of_an_installation_are_listed(engine: Engine, installation: str) -> None:
    with started(engine) as sandbox:
        engine.create(
            f"interpreter-{installation}-other",
            labels={INSTALLATION_LABEL: "another"},
            confinement=confinement(),
        )
        try:
            (info,) = engine.list()
        finally:
            engine.remove(f"interpreter-{installation}-other")
    assert (info.name, info.running) == (sandbox.name, True)
    assert info.labels[INSTALLATION_LABEL] == installation
    assert abs(info.created_at.timestamp() - time.time()) < 60
    assert engine.list() == []


def test_a_name_is_given_once(engine: Engine, sandbox: Sandbox) -> None:
    with pytest.raises(EngineUnavailable):
        engine.create(sandbox.name, labels={}, confinement=confinement())
    assert sandbox.output("print('unharmed')") == "unharmed\n"


def test_what_is_removed_is_gone(engine: Engine) -> None:
    with started(engine) as sandbox:
        assert engine.death(sandbox.name) is None
        engine.remove(sandbox.name)
        assert engine.death(sandbox.name) == Death(exit_code=None)
        with pytest.raises(ContainerLost):
            engine.attach(sandbox.name)
        with pytest.raises(ContainerLost):
            engine.limit_cpu(sandbox.name, 1)
        engine.remove(sandbox.name)


def test_it_answers(engine: Engine) -> None:
    engine.ping()


def test_the_cpu_limit_can_be_changed(engine: Engine, sandbox: Sandbox) -> None:
    if isinstance(engine, DockerEngine) and confinement().under_gvisor:
        pytest.skip("NOT tested, gVisor cannot change it: it is in force from the start")
    engine.limit_cpu(sandbox.name, 0.25)
    assert sandbox.output("print('still here')") == "still here\n"


def test_a_container_that_is_removed_during_a_run_is_noticed_at_once(
    engine: Engine, sandbox: Sandbox
) -> None:
    timer = threading.Timer(0.5, engine.remove, [sandbox.name])
    timer.start()
    began = time.monotonic()
    with pytest.raises(ContainerLost):
        sandbox.run("import time; print('begun', flush=True); time.sleep(20)")
    assert time.monotonic() - began < 5
    timer.join()


def test_a_client_that_speaks_nonsense_ends_the_container(engine: Engine, sandbox: Sandbox) -> None:
    attachment = engine.attach(sandbox.name)
    attachment.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    deadline = time.monotonic() + 10
    while engine.death(sandbox.name) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    attachment.close()
    death = engine.death(sandbox.name)
    assert death is not None
    assert death.exit_code
    began = time.monotonic()
    with pytest.raises(ContainerLost):
        sandbox.output("print(1)")
    assert time.monotonic() - began < 5


def test_a_client_that_goes_in_the_middle_of_a_frame_costs_the_container(
    engine: Engine, sandbox: Sandbox
) -> None:
    def two_clients() -> None:
        attachment = engine.attach(sandbox.name)
        attachment.send(HEADER.pack(1000, 7, DATA) + b"x" * 20)
        attachment.close()
        with sandbox.attach() as channel:
            channel.hello(timeout=1)

    with contextlib.suppress(ContainerLost):
        # The engine reads each client by itself: the second one's bytes may arrive first.
        for _ in range(20):
            two_clients()
        pytest.fail("the container goes on")


def test_data_that_nobody_announced_is_skipped(engine: Engine, sandbox: Sandbox) -> None:
    attachment = engine.attach(sandbox.name)
    attachment.send(HEADER.pack(20, 7, DATA) + b"x" * 20)
    attachment.close()
    assert sandbox.output("print(1)") == "1\n"


def test_a_use_that_does_not_know_of_the_last_one_is_fenced_off(
    engine: Engine, sandbox: Sandbox
) -> None:
    def use(last: str, this: str) -> Channel:
        return Channel(engine.attach(sandbox.name), fence=Fence(last, this))

    with use("", "first") as channel:
        channel.put([put_file("a.txt", b"one")])
        # Any of its requests may be the first.
        channel.remove(["none.txt"])
    for fenced in (use("", "second"), use("other", "second")):
        with fenced as channel, pytest.raises(ContainerLost, match="does not know of"):
            channel.put([put_file("a.txt", b"two")])
    with use("", "second") as channel, pytest.raises(ContainerLost, match="does not know of"):
        channel.run(
            language="bash",
            code=b"rm a.txt",
            args=(),
            limits=run_limits(wall_seconds=20, output_bytes=1000),
            abandoned=lambda: False,
        )
    with use("first", "second") as channel:
        channel.reset()
    assert sandbox.files() == {}


def test_an_unknown_verb_is_an_error_and_no_more(sandbox: Sandbox) -> None:
    wire = sandbox.wire()
    wire.open_request({"verb": "explode"}, seconds=10)
    assert control(*wire.receive()) == {
        "error": "unknown_verb",
        "message": "there is no verb 'explode'",
    }
    wire.close()
    assert sandbox.output("print(1)") == "1\n"


def test_to_cancel_what_has_ended_means_nothing(sandbox: Sandbox) -> None:
    wire = sandbox.wire()
    wire.open_request({"verb": "cancel"}, seconds=10)
    wire.open_request({"verb": "hello"}, seconds=10)
    assert control(*wire.receive())["version"] == VERSION
    wire.close()


def test_the_heartbeat_goes_on_during_a_run_and_ends_it_by_raising(sandbox: Sandbox) -> None:
    beats: list[float] = []

    def heartbeat() -> None:
        beats.append(time.monotonic())
        if len(beats) == 2:
            raise KeyError("the lease is lost")

    with sandbox.attach(heartbeat) as channel, pytest.raises(KeyError):
        channel.run(
            language="bash",
            code=b"sleep 10",
            args=(),
            limits=run_limits(wall_seconds=20, output_bytes=1000),
            abandoned=lambda: False,
        )
    assert 0.5 < beats[1] - beats[0] < 3
