import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from pytest_django import Settings

from audit.models import Execution, SandboxContainer, SandboxFile, SandboxSession
from keys.models import APIKey
from sandbox import keeper, pool, services, store, store_keeper
from sandbox.confinement import confinement
from sandbox.engines.base import Attachment
from sandbox.errors import AtCapacity, ContainerLost, EngineUnavailable, SandboxError
from sandbox.management.commands import keeper as keeper_command
from sandbox.services import Caller, RunRequest
from tests.fakes.engine import FakeEngine
from tests.unit.sandbox.helpers import lease, run

pytestmark = pytest.mark.usefixtures("fake")

State = SandboxContainer.State


def states() -> list[str]:
    return sorted(SandboxContainer.objects.values_list("state", flat=True))


def test_the_keeper_fills_the_pool_and_a_run_takes_from_it(
    alice: Caller, settings: Settings
) -> None:
    settings.SANDBOX_POOL_SIZE = 2
    assert keeper.refill() == 2
    assert keeper.refill() == 0
    ran = run(alice, "print(1)")
    assert ran.execution.container_source == Execution.Source.POOL
    assert states() == ["idle", "warm"]
    assert keeper.refill() == 1


def test_without_a_pool_a_run_makes_its_container(alice: Caller) -> None:
    ran = run(alice, "print(1)")
    ran.execution.refresh_from_db()
    assert ran.execution.container_source == Execution.Source.CREATED
    assert ran.execution.container is not None
    assert ran.execution.container.session == ran.session


# Within one transaction all of them would have been used at the same time.
@pytest.mark.django_db(transaction=True)
def test_the_least_recently_used_idle_container_makes_room(
    alice: Caller, settings: Settings, fake: FakeEngine
) -> None:
    settings.SANDBOX_RECYCLE = False
    settings.SANDBOX_MAX_CONTAINERS = 2
    settings.SANDBOX_POOL_SIZE = 0
    first, second = run(alice, "open('a', 'w')"), run(alice, "open('b', 'w')")
    run(alice, "print(1)", session_id=first.session.pk)
    run(alice, "print(1)")
    assert len(fake.list()) == 2
    gone = SandboxContainer.objects.get(state=State.GONE)
    assert gone.session == second.session
    assert gone.removed_at is not None
    back = run(alice, "print(__import__('os').path.exists('b'))", session_id=second.session.pk)
    assert back.verdict.stdout == "True\n"


def test_at_capacity_with_nothing_idle_a_run_is_told_to_come_back(
    alice: Caller, settings: Settings
) -> None:
    settings.SANDBOX_MAX_CONTAINERS = 1
    settings.SANDBOX_QUEUE_SECONDS = 0.1
    pool.reserve()
    with pytest.raises(AtCapacity):
        run(alice, "print(1)")
    execution = Execution.objects.get()
    assert execution.status == Execution.Status.ABORTED
    assert "busy" in execution.message


def test_the_pool_gives_up_for_hot_containers_what_has_been_idle_for_a_while(
    alice: Caller, bob: Caller, settings: Settings
) -> None:
    settings.SANDBOX_MAX_CONTAINERS = 2
    settings.SANDBOX_POOL_SIZE = 1
    run(alice, "print(1)")
    run(bob, "print(1)")
    assert keeper.refill() == 0
    assert not keeper.can_refill()
    assert states() == ["idle", "idle"]
    long_ago = timezone.now() - timedelta(seconds=keeper.SPARE_SECONDS)
    SandboxContainer.objects.filter(session__key=alice.key).update(last_used_at=long_ago)
    assert keeper.can_refill()
    assert keeper.refill() == 1
    assert not keeper.can_refill()
    assert states() == ["gone", "idle", "warm"]
    assert SandboxContainer.objects.idle().get().session.key == bob.key  # type: ignore[union-attr]


def test_a_pool_that_lacks_room_keeps_nobody_busy(alice: Caller, settings: Settings) -> None:
    settings.SANDBOX_MAX_CONTAINERS = 1
    settings.SANDBOX_POOL_SIZE = 1
    run(alice, "print(1)")
    began = time.monotonic()
    keeper_command.Command()._wait(0.5)
    assert time.monotonic() - began > 0.4
    settings.SANDBOX_MAX_CONTAINERS = 2
    # Returns at once: with nobody to wake it, this would not end.
    keeper_command.Command()._wait(None)


@pytest.mark.django_db(transaction=True)
def test_the_run_that_takes_a_container_comes_before_the_next_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SANDBOX_POOL_SIZE = 1
    keeper.refill()
    monkeypatch.setattr(keeper_command, "FIRST_SECONDS", 0.5)
    is_over = threading.Event()

    def claim() -> None:
        try:
            while not is_over.wait(0.05):
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_notify(%s, '')", [pool.CHANNEL])
        finally:
            connection.close()

    claims = threading.Thread(target=claim)
    claims.start()
    began = time.monotonic()
    keeper_command.Command()._wait(5.0)
    waited = time.monotonic() - began
    is_over.set()
    claims.join()
    assert waited >= 0.5


def test_an_engine_that_is_down_is_told_and_takes_up_no_room(
    alice: Caller, fake: FakeEngine, settings: Settings
) -> None:
    settings.SANDBOX_MAX_CONTAINERS = 1
    settings.SANDBOX_POOL_SIZE = 0
    fake.down = True
    for _ in range(3):
        with pytest.raises(EngineUnavailable):
            run(alice, "print(1)")
    fake.down = False
    assert run(alice, "print(1)").verdict.stdout == "1\n"
    assert Execution.objects.filter(status=Execution.Status.ABORTED).count() == 3


def test_a_container_killed_during_a_run_is_our_fault_and_loses_nothing(
    alice: Caller, fake: FakeEngine
) -> None:
    first = run(alice, "open('a.txt', 'w').write('one')")
    [container] = fake.list()
    threading.Timer(0.5, fake.kill, [container.name]).start()
    with pytest.raises(ContainerLost):
        run(alice, "import time; time.sleep(20)", session_id=first.session.pk)
    again = run(alice, "print(open('a.txt').read())", session_id=first.session.pk)
    assert again.verdict.stdout == "one\n"
    assert fake.list() != [container]


@contextmanager
def failing_statement(*words: str) -> Iterator[None]:
    """The connection breaks at the statement that has these words."""

    def execute(then: Any, sql: str, *rest: Any) -> Any:
        if all(word in sql for word in words):
            raise OperationalError("the connection is lost")
        return then(sql, *rest)

    with connection.execute_wrapper(execute):
        yield


def test_a_failed_transaction_leaves_no_lease(alice: Caller) -> None:
    with failing_statement("INSERT", "audit_sandboxfile"), pytest.raises(OperationalError):
        run(alice, "open('a.txt', 'w').write('one')")
    assert SandboxSession.objects.get().lease_expires_at is None


@pytest.mark.django_db(transaction=True)
def test_a_database_that_fails_before_the_run_leaves_nothing_attached(
    fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = Caller(key=APIKey.issue(name="Alice")[0])
    opened: list[Attachment] = []
    attach = fake.attach

    def noting(name: str) -> Attachment:
        opened.append(attach(name))
        return opened[-1]

    monkeypatch.setattr(fake, "attach", noting)
    with failing_statement("INSERT", "container_source"), pytest.raises(OperationalError):
        run(caller, "print(1)")
    assert [attachment.recv(0.1) for attachment in opened] == [b""] * len(opened)
    assert fake.list() == []


@pytest.mark.django_db(transaction=True)
def test_a_container_that_the_keeper_ended_is_not_brought_back(
    fake: FakeEngine, tmp_path: Path
) -> None:
    """The lease had run out for a moment, and the engine was too busy to remove the container."""
    caller = Caller(key=APIKey.issue(name="Alice")[0])
    first = run(caller, "open('a.txt', 'w').write('one')")
    begun = tmp_path / "begun"

    def end() -> None:
        while not begun.exists():
            time.sleep(0.05)
        SandboxSession.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        fake.down = True
        keeper.end_containers()
        fake.down = False
        connection.close()

    ending = threading.Thread(target=end)
    ending.start()
    code = f"import time; open({str(begun)!r}, 'w'); time.sleep(2)"
    run(caller, code, session_id=first.session.pk)
    ending.join()
    assert states() == ["gone"]
    again = run(caller, "print(open('a.txt').read())", session_id=first.session.pk)
    assert again.verdict.stdout == "one\n"


def test_an_idle_container_is_removed_in_time(
    alice: Caller, fake: FakeEngine, settings: Settings
) -> None:
    run(alice, "print(1)")
    keeper.tidy()
    assert states() == ["idle"]
    settings.SANDBOX_IDLE_SECONDS = 0
    keeper.tidy()
    assert states() == ["gone"]
    assert fake.list() == []


def test_an_expired_session_ends_with_its_files_and_its_container(
    alice: Caller, fake: FakeEngine
) -> None:
    ran = run(alice, "open('a.txt', 'w').write('one')")
    SandboxSession.objects.update(expires_at=timezone.now())
    assert keeper.reap_sessions() == 1
    file = ran.outputs[0].file
    file.refresh_from_db()
    assert file.deleted_at is not None
    assert not store.exists(file.store_key)
    assert fake.list() == []
    assert keeper.reap_sessions() == 0


def test_a_session_whose_hint_was_used_again_is_reaped_too(alice: Caller, fake: FakeEngine) -> None:
    first = run(alice, "open('a.txt', 'w').write('one')", hint="c")
    SandboxSession.objects.update(expires_at=timezone.now())
    second = run(alice, "print(1)", hint="c")
    keeper.tidy()
    store_keeper.tidy()
    assert not store.exists(first.outputs[0].file.store_key)
    [container] = SandboxContainer.objects.occupying()
    assert container.session == second.session


def test_what_a_crashed_reaper_left_is_reaped_by_the_next(alice: Caller) -> None:
    ran = run(alice, "open('a.txt', 'w').write('one')")
    SandboxSession.objects.update(expires_at=timezone.now(), ended_at=timezone.now())
    keeper.reap_sessions()
    file = ran.outputs[0].file
    file.refresh_from_db()
    assert file.deleted_at is not None
    assert not store.exists(file.store_key)


def test_a_replaced_version_expires_while_its_session_lives_on(alice: Caller) -> None:
    first = run(alice, "open('a.txt', 'w').write('one')", hint="c")
    second = run(alice, "open('a.txt', 'w').write('two')", hint="c")
    assert store_keeper.expire_versions() == 0
    SandboxFile.objects.filter(pk=first.outputs[0].file.pk).update(
        superseded_at=timezone.now() - timedelta(days=3)
    )
    assert store_keeper.expire_versions() == 1
    assert not store.exists(first.outputs[0].file.store_key)
    assert store.exists(second.outputs[0].file.store_key)
    assert run(alice, "print(open('a.txt').read())", hint="c").verdict.stdout == "two\n"


def crashed_run(caller: Caller) -> Execution:
    """What a killed worker leaves: a leased session and container, a running execution."""
    ran = run(caller, "open('a.txt', 'w').write('one')")
    assert lease(ran.session)
    SandboxSession.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    SandboxContainer.objects.update(state=State.LEASED)
    return Execution.objects.create(
        key=caller.key,
        session=ran.session,
        container=SandboxContainer.objects.get(),
        language="py",
    )


def test_the_next_run_takes_over_from_a_dead_worker(alice: Caller, fake: FakeEngine) -> None:
    crashed = crashed_run(alice)
    [before] = fake.list()
    ran = run(alice, "print(open('a.txt').read())", session_id=crashed.session_id)
    assert ran.verdict.stdout == "one\n"
    assert before.name not in {container.name for container in fake.list()}


def test_the_keeper_cleans_up_after_a_dead_worker(alice: Caller, fake: FakeEngine) -> None:
    crashed = crashed_run(alice)
    keeper.tidy()
    crashed.refresh_from_db()
    assert crashed.status == Execution.Status.ABORTED
    assert fake.list() == []
    assert states() == ["gone"]


def test_a_run_that_waits_for_its_turn_is_not_taken_for_dead(alice: Caller) -> None:
    ran = run(alice, "print(1)")
    waiting = Execution.objects.create(key=alice.key, session=ran.session, language="py")
    keeper.abort_executions()
    waiting.refresh_from_db()
    assert waiting.status == Execution.Status.RUNNING


def test_containers_without_a_row_and_rows_without_a_container_are_removed(
    alice: Caller, fake: FakeEngine, settings: Settings
) -> None:
    settings.SANDBOX_POOL_SIZE = 1
    keeper.refill()
    [warm] = fake.list()
    fake.kill(warm.name)
    stray = SandboxContainer(image="x")
    fake.create(stray.name, labels=pool.labels(stray), confinement=confinement())
    keeper.remove_strays()
    assert fake.list() == []
    assert states() == ["gone"]


def test_a_container_of_an_older_image_is_not_used(alice: Caller, settings: Settings) -> None:
    settings.SANDBOX_POOL_SIZE = 1
    keeper.refill()
    first = run(alice, "open('a.txt', 'w').write('one')")
    keeper.refill()
    SandboxContainer.objects.update(image="older")
    ran = run(alice, "print(open('a.txt').read())", session_id=first.session.pk)
    assert ran.execution.container_source == Execution.Source.CREATED
    assert ran.verdict.stdout == "one\n"
    keeper.end_containers()
    assert states() == ["gone", "gone", "idle"]


def test_nor_is_one_with_other_limits(alice: Caller, settings: Settings) -> None:
    """A container from before they were tightened, say."""
    settings.SANDBOX_POOL_SIZE = 1
    keeper.refill()
    first = run(alice, "open('a.txt', 'w').write('one')")
    keeper.refill()
    settings.SANDBOX_PIDS -= 1
    later = replace(alice, key=APIKey.objects.get(pk=alice.key.pk))
    ran = run(later, "print(open('a.txt').read())", session_id=first.session.pk)
    assert ran.execution.container_source == Execution.Source.CREATED
    assert ran.verdict.stdout == "one\n"
    keeper.end_containers()
    assert states() == ["gone", "gone", "idle"]


def test_a_pool_that_cannot_be_filled_leaves_no_rows(fake: FakeEngine, db: None) -> None:
    fake.down = True
    for _ in range(3):
        with pytest.raises(EngineUnavailable):
            keeper.refill()
    fake.down = False
    assert not SandboxContainer.objects.exists()


def test_the_sweep_takes_what_has_no_row_and_nothing_else(
    alice: Caller, django_assert_max_num_queries: Any, store_dir: Path
) -> None:
    ran = run(alice, "for i in range(30): open(f'{i}.txt', 'w').write('x')")
    deleted, orphan, spooled = ran.outputs[0].file, store.IncomingFile(), store.IncomingFile()
    SandboxFile.objects.filter(pk=deleted.pk).update(deleted_at=timezone.now())
    orphan.keep(f"{ran.session.pk[:2]}/{ran.session.pk}/{'orphan':x<21}")
    long_ago = time.time() - store.ABANDONED_SECONDS - 1
    for path in store_dir.rglob("*"):
        os.utime(path, (long_ago, long_ago))
    fresh = store.IncomingFile()
    with django_assert_max_num_queries(5):
        assert store_keeper.sweep() == 2
    assert not store.exists(deleted.store_key)
    assert all(store.exists(output.file.store_key) for output in ran.outputs[1:])
    spooled.discard()
    fresh.keep("new")


def test_a_dead_run_in_line_does_not_stop_those_behind_it(
    alice: Caller, settings: Settings
) -> None:
    """Its worker was killed; the client asks again in the same session, whose lease then lives."""
    settings.SANDBOX_QUEUE_SECONDS = 1
    first = run(alice, "print(1)")
    keeper.drain()
    dead = Execution.objects.create(key=alice.key, session=first.session, language="py")
    dead.queue()
    assert run(alice, "print(2)", session_id=first.session.pk).verdict.stdout == "2\n"
    assert lease(first.session)
    assert run(alice, "print(3)").verdict.stdout == "3\n"


@pytest.mark.django_db(transaction=True)
def test_a_run_whose_container_is_starting_no_longer_stands_in_line(
    fake: FakeEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SANDBOX_MAX_CONTAINERS = 2
    caller = Caller(key=APIKey.issue(name="Alice")[0])
    blocker = pool.reserve(), pool.reserve()
    create, started = fake.create, []

    def slowly(name: str, **values: Any) -> None:
        started.append(time.monotonic())
        time.sleep(1.5)
        create(name, **values)

    monkeypatch.setattr(fake, "create", slowly)

    def once() -> None:
        try:
            run(caller, "print(1)")
        finally:
            connection.close()

    threads = [threading.Thread(target=once) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    for container in blocker:
        assert container
        pool.discard(container, "makes room")
    for thread in threads:
        thread.join()
    assert started[1] - started[0] < 1


def test_drain_leaves_no_container(alice: Caller, fake: FakeEngine) -> None:
    run(alice, "print(1)")
    keeper.refill()
    keeper.drain()
    assert fake.list() == []
    assert SandboxContainer.objects.occupying().count() == 0


@pytest.mark.django_db(transaction=True)
def test_the_runs_of_a_session_do_not_overlap() -> None:
    caller = Caller(key=APIKey.issue(name="Alice")[0])
    first = run(caller, "open('n', 'w').write('0')")
    count = (
        "import time; n = int(open('n').read()); time.sleep(.2); open('n', 'w').write(str(n + 1))"
    )
    errors: list[SandboxError] = []

    def once() -> None:
        try:
            run(caller, count, session_id=first.session.pk)
        except SandboxError as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=once) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert (
        run(caller, "print(open('n').read())", session_id=first.session.pk).verdict.stdout == "5\n"
    )


@pytest.mark.django_db(transaction=True)
def test_a_warm_container_is_claimed_by_one_run_only(settings: Settings) -> None:
    settings.SANDBOX_POOL_SIZE = 3
    keeper.refill()
    caller = Caller(key=APIKey.issue(name="Alice")[0])
    sources: list[str] = []

    def once() -> None:
        try:
            sources.append(run(caller, "import time; time.sleep(.3)").execution.container_source)
        finally:
            connection.close()

    threads = [threading.Thread(target=once) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sources) == ["created"] * 2 + ["pool"] * 3
    idle = SandboxContainer.objects.idle()
    assert idle.values("session").distinct().count() == idle.count() == 5


@pytest.mark.django_db(transaction=True)
def test_runs_that_find_no_room_get_their_turn_in_order(settings: Settings) -> None:
    settings.SANDBOX_MAX_CONTAINERS = 1
    settings.SANDBOX_POOL_SIZE = 0
    caller = Caller(key=APIKey.issue(name="Alice")[0])
    order: list[int] = []

    def once(number: int) -> None:
        try:
            run(caller, "import time; time.sleep(.2)")
            order.append(number)
        finally:
            connection.close()

    threads = [threading.Thread(target=once, args=[number]) for number in range(6)]
    for thread in threads:
        stood = Execution.objects.count()
        thread.start()
        while Execution.objects.count() == stood:
            time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert order == sorted(order)
    assert len(order) == 6


def test_a_dead_workers_run_leaves_the_line(alice: Caller) -> None:
    crashed = crashed_run(alice)
    Execution.objects.filter(pk=crashed.pk).update(container=None, queued_at=timezone.now())
    assert run(alice, "print(1)").verdict.stdout == "1\n"


def test_a_waiting_run_whose_client_has_gone_gives_up(alice: Caller, settings: Settings) -> None:
    settings.SANDBOX_MAX_CONTAINERS = 1
    pool.reserve()
    request = RunRequest(language="py", code="print(1)")
    with pytest.raises(AtCapacity):
        services.execute(alice, request, abandoned=lambda: True)
    assert Execution.objects.get().status == Execution.Status.ABORTED


def test_drain_needs_no_database(
    alice: Caller, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(alice, "print(1)")
    assert len(fake.list()) == 1

    def away(*arguments: object, **named: object) -> None:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(SandboxContainer.objects, "exclude", away)
    keeper.drain()
    assert fake.list() == []
