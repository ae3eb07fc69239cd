"""Containers that wait, hot, for a run; and those that are made while one waits."""

import threading
import time
from typing import Any

import pytest
from pytest_django import Settings

from audit.models import Execution, SandboxContainer
from sandbox import images, keeper, pool
from sandbox.channel import Channel, Hello
from sandbox.errors import ContainerLost, EngineUnavailable
from sandbox.services import Caller
from tests.fakes.engine import FakeEngine
from tests.fakes.processes import FakeSupervisor
from tests.unit.sandbox.helpers import run

State = SandboxContainer.State


def test_a_container_starts_with_more_cpu_than_it_has_when_it_is_handed_out(
    alice: Caller, fake: FakeEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SANDBOX_CPUS, settings.SANDBOX_WARMING_CPUS = 0.25, 1.5
    settings.SANDBOX_POOL_SIZE = 1
    during: list[float] = []
    hello = Channel.hello

    def noting(self: Channel, timeout: float, *, hot_within: float = 0.0) -> Hello:
        during.extend(fake.cpus.values())
        return hello(self, timeout, hot_within=hot_within)

    monkeypatch.setattr(Channel, "hello", noting)
    keeper.refill()
    assert (during, list(fake.cpus.values())) == ([1.5], [0.25])
    run(alice, "print(1)")
    run(alice, "print(1)")
    settings.SANDBOX_RECYCLE = False
    outcome = run(alice, "print(1)")
    assert outcome.execution.container_source == Execution.Source.CREATED
    assert set(fake.cpus.values()) == {0.25}


def test_more_cpu_than_while_it_starts_is_not_taken_away_before(
    fake: FakeEngine, settings: Settings, db: None
) -> None:
    settings.SANDBOX_CPUS, settings.SANDBOX_WARMING_CPUS = 4.0, 2.0
    keeper.refill()
    assert set(fake.cpus.values()) == {4.0}


def test_where_the_cpu_limit_cannot_be_changed_it_is_in_force_from_the_start(
    fake: FakeEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    settings.SANDBOX_CPUS, settings.SANDBOX_WARMING_CPUS = 0.25, 1.5
    settings.SANDBOX_RUNTIME = "runsc"

    def refuse(name: str, cpus: float) -> None:
        raise EngineUnavailable("cannot update")

    monkeypatch.setattr(fake, "limit_cpu", refuse)
    keeper.refill()
    assert set(fake.cpus.values()) == {0.25}


def test_the_pool_waits_for_its_containers_to_get_hot_and_a_run_does_not(
    alice: Caller, fake: FakeEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    def warm_up(self: FakeSupervisor, seconds: float) -> bool:
        waited.append(seconds)
        return seconds > 0

    monkeypatch.setattr(FakeSupervisor, "warm_up", warm_up)
    settings.SANDBOX_POOL_SIZE = 1
    keeper.refill()
    pooled = run(alice, "print(1)").execution.container
    settings.SANDBOX_RECYCLE = False
    created = run(alice, "print(1)").execution.container
    assert waited == [pool.HOT_SECONDS, 0]
    assert pooled is not None
    assert created is not None
    created.refresh_from_db()
    assert (pooled.hot, created.hot) == (True, False)


def test_hot_containers_are_taken_first(alice: Caller, fake: FakeEngine) -> None:
    keeper.refill()
    cold, hot = SandboxContainer.objects.order_by("ready_at")
    SandboxContainer.objects.filter(pk=cold.pk).update(hot=False)
    assert run(alice, "print(1)").execution.container == hot


def test_several_are_started_at_a_time_and_no_more(
    fake: FakeEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    settings.SANDBOX_POOL_SIZE = 5
    settings.SANDBOX_POOL_STARTS = 3
    create, running, most = fake.create, 0, 0
    mutex = threading.Lock()

    def slowly(name: str, **values: Any) -> None:
        nonlocal running, most
        with mutex:
            running += 1
            most = max(most, running)
        time.sleep(0.2)
        create(name, **values)
        with mutex:
            running -= 1

    monkeypatch.setattr(fake, "create", slowly)
    assert keeper.refill() == 5
    assert most == 3


def test_a_start_that_fails_does_not_take_the_others_with_it(
    fake: FakeEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    settings.SANDBOX_POOL_SIZE = 3
    settings.SANDBOX_POOL_STARTS = 3
    create = fake.create
    tried: list[str] = []

    def failing_once(name: str, **values: Any) -> None:
        tried.append(name)
        if len(tried) == 1:
            raise EngineUnavailable("busy")
        time.sleep(0.1)
        create(name, **values)

    monkeypatch.setattr(fake, "create", failing_once)
    with pytest.raises(EngineUnavailable):
        keeper.refill()
    assert [c.state for c in SandboxContainer.objects.all()] == [State.WARM, State.WARM]
    assert len(fake.list()) == 2
    assert keeper.refill() == 1


def test_a_container_that_dies_while_it_starts_is_removed(
    fake: FakeEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    settings.SANDBOX_POOL_SIZE = 1

    def dies(self: FakeSupervisor, seconds: float) -> bool:
        raise OSError("the runner dies")

    monkeypatch.setattr(FakeSupervisor, "warm_up", dies)
    with pytest.raises(ContainerLost):
        keeper.refill()
    assert fake.list() == []
    assert SandboxContainer.objects.occupying().count() == 0


def test_a_pool_that_is_emptied_as_fast_does_not_keep_the_keeper(
    fake: FakeEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    settings.SANDBOX_MAX_CONTAINERS = 1000
    monkeypatch.setattr(keeper, "lacking", lambda: images.DEFAULT)
    # That it comes back is what counts: the pool is never full.
    assert keeper.refill(seconds=0.5) > 0
