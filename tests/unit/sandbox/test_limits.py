"""A key's limits: in its runs, in the containers that it gets, in the row and in the answer."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from audit.models import Execution, SandboxContainer
from keys.limits import Limits
from keys.models import APIKey
from sandbox import keeper, pool, services
from sandbox.services import Caller, Outcome, RunRequest
from sandbox.services.entering import enter
from sandbox.services.executing import run_limits
from tests.fakes.engine import FakeEngine
from tests.unit.sandbox.helpers import put, ref, run

pytestmark = pytest.mark.usefixtures("fake")

MB = 1024 * 1024
State, Source = SandboxContainer.State, Execution.Source


@pytest.fixture
def guest(db: None) -> Caller:
    """Her containers have less memory than others'."""
    return Caller(key=APIKey.issue(name="Guest", limits={"memory_mb": 256})[0])


@pytest.fixture(autouse=True)
def small_pool(settings: Settings) -> None:
    settings.SANDBOX_POOL_SIZE = 1


def source(outcome: Outcome) -> str:
    return str(Execution.objects.get(pk=outcome.execution.pk).container_source)


def change(caller: Caller, **limits: Any) -> Caller:
    """As the admin does it; the next request reads the key anew."""
    APIKey.objects.filter(pk=caller.key.pk).update(**limits)
    return Caller(key=APIKey.objects.get(pk=caller.key.pk))


# --- of a run ---


def test_a_run_has_the_servers_limits_unless_its_key_has_lower_ones(settings: Settings) -> None:
    server = run_limits(Limits.of(), None)
    assert (server.wall_seconds, server.cpu_seconds) == (30, 31)
    assert server.file_bytes == settings.SANDBOX_WRITE_MB * MB
    key = APIKey(max_run_seconds=9.5, open_files=64, write_mb=2, output_bytes=2000)
    own = run_limits(Limits.of(key), None)
    assert (own.wall_seconds, own.cpu_seconds) == (9.5, 10)
    assert (own.open_files, own.file_bytes, own.output_bytes) == (64, 2 * MB, 2000)


def test_a_request_gets_no_more_time_than_its_key(settings: Settings) -> None:
    key = APIKey(max_run_seconds=50, cpu_seconds=20)
    limits = Limits.of(key)
    assert run_limits(limits, None).wall_seconds == 30
    assert run_limits(limits, 40).wall_seconds == 40
    assert run_limits(limits, 300).wall_seconds == 50
    assert run_limits(limits, 300).cpu_seconds == 20
    settings.SANDBOX_CPU_SECONDS = 5
    assert run_limits(Limits.of(key), 300).cpu_seconds == 5
    assert run_limits(Limits.of(key), 2).cpu_seconds == 3


# --- of a container ---


def test_a_key_with_limits_of_its_own_takes_none_from_the_pool(
    alice: Caller, guest: Caller
) -> None:
    assert keeper.refill() == 1
    first = run(guest, "open('a.txt', 'w').write('one')")
    assert source(first) == Source.CREATED
    assert first.execution.container
    assert "memory_mb=256" in first.execution.container.limits.split()
    again = run(guest, "print(open('a.txt').read())", session_id=first.session.pk)
    assert (source(again), again.verdict.stdout) == (Source.SESSION, "one\n")
    assert source(run(guest, "print(1)")) == Source.RECYCLED
    assert source(run(alice, "print(1)")) == Source.POOL


def test_limits_of_a_run_alone_leave_the_pool_to_a_key(alice: Caller) -> None:
    keeper.refill()
    assert source(run(change(alice, output_bytes=2000), "print(1)")) == Source.POOL


def test_a_container_is_made_with_its_keys_limits(guest: Caller, fake: FakeEngine) -> None:
    guest = change(guest, cpus=0.25, pids=33)
    run(guest, "print(1)")
    [name] = fake.created
    confined = fake.confinements[name]
    assert (confined.memory_bytes, confined.pids) == (256 * MB, 33)
    assert confined.cpus == 2.0
    assert fake.cpus[name] == 0.25


def test_a_container_with_former_limits_is_not_used_again(guest: Caller) -> None:
    first = run(guest, "open('a.txt', 'w').write('one')")
    guest = change(guest, memory_mb=200)
    again = run(guest, "print(open('a.txt').read())", session_id=first.session.pk)
    assert (source(again), again.verdict.stdout) == (Source.CREATED, "one\n")
    former = SandboxContainer.objects.get(state=State.GONE)
    assert former.end_reason == pool.OUTDATED
    # Nor for another session.
    guest = change(guest, memory_mb=None)
    assert source(run(guest, "print(1)")) == Source.CREATED


def test_the_keeper_ends_idle_containers_with_former_limits_and_no_others(
    alice: Caller, guest: Caller, fake: FakeEngine
) -> None:
    for caller in (alice, guest):
        run(caller, "print(1)")
    keeper.end_containers()
    assert len(fake.list()) == 2
    change(guest, pids=40)
    keeper.end_containers()
    gone = SandboxContainer.objects.get(state=State.GONE)
    assert (gone.end_reason, gone.session.key) == (pool.OUTDATED, guest.key)  # type: ignore[union-attr]
    assert len(fake.list()) == 1


def test_the_pool_is_renewed_when_the_server_has_other_limits(
    alice: Caller, settings: Settings
) -> None:
    keeper.refill()
    settings.SANDBOX_MEMORY_MB = 600
    assert source(run(alice, "print(1)")) == Source.CREATED
    keeper.end_containers()
    assert SandboxContainer.objects.warm().count() == 0
    assert keeper.refill() == 1
    assert source(run(alice, "print(1)")) == Source.POOL


def test_a_keys_limits_cost_the_beginning_of_a_run_no_statement(guest: Caller) -> None:
    first = run(guest, "open('a.txt', 'w').write('one')")
    guest = change(guest)
    request = RunRequest(language="py", code="", session_id=first.session.pk)
    with CaptureQueriesContext(connection) as queries:
        entered = enter(guest, request, Execution(key=guest.key, language="py"))
    assert entered.claim
    assert len(queries) == 1


def test_a_claimed_container_is_left_to_its_run_by_the_keeper(guest: Caller) -> None:
    run(guest, "print(1)")
    SandboxContainer.objects.update(state=State.LEASED)
    change(guest, pids=40)
    keeper.end_with_other_limits()
    assert SandboxContainer.objects.get().state == State.LEASED


# --- which one was hit ---


def hit(outcome: Outcome) -> list[str]:
    """As the row has it, which is what the outcome says."""
    row = Execution.objects.get(pk=outcome.execution.pk)
    assert row.limits_hit == list(outcome.verdict.limits_hit) == outcome.execution.limits_hit
    return list(row.limits_hit)


def test_an_ordinary_run_hits_none(alice: Caller) -> None:
    assert hit(run(alice, "print(1)")) == []
    assert hit(run(alice, "1 / 0")) == []


def test_time_by_the_clock_and_of_the_processor_are_told_apart(alice: Caller) -> None:
    alice = change(alice, max_run_seconds=1)
    slept = run(alice, "import time; time.sleep(60)")
    assert (hit(slept), slept.verdict.message) == (["wall_time"], "Time limit exceeded")
    alice = change(alice, max_run_seconds=None, cpu_seconds=1)
    worked = run(alice, "while True: pass")
    assert (hit(worked), worked.verdict.message) == (["cpu_time"], "CPU time limit exceeded")
    assert worked.verdict.status == slept.verdict.status == Execution.Status.TIMED_OUT


def test_output_is_cut_where_the_key_says(alice: Caller) -> None:
    outcome = run(change(alice, output_bytes=1024), "print('x' * 5000)")
    assert (hit(outcome), outcome.verdict.stdout) == (["output"], "x" * 1024)


def test_the_size_of_a_file_is_told_by_the_file_where_the_signal_is_ignored(alice: Caller) -> None:
    alice = change(alice, write_mb=1)
    code = "open('a.bin', 'wb').write(bytes(2**21))"
    outcome = run(alice, code)
    assert hit(outcome) == ["file_size"]
    assert "File too large" in outcome.verdict.stderr
    assert outcome.verdict.stderr.endswith("\n[sandbox] File size limit exceeded\n")
    # The file is not of this run.
    assert hit(run(alice, "print(1)", session_id=outcome.session.pk)) == []


def test_the_size_of_a_file_is_told_by_the_signal(alice: Caller) -> None:
    code = "exec head -c 2000000 /dev/zero > a.bin"
    outcome = run(change(alice, write_mb=1), code, language="bash")
    assert (hit(outcome), outcome.verdict.signal) == (["file_size"], "SIGXFSZ")


WRITE = "for i in range({count}): open(f'{{i}}.bin', 'wb').write(bytes({size}))"


@pytest.mark.parametrize(
    ("limits", "count", "size", "expected", "listed"),
    [
        ({}, 3, 1, [], 3),
        ({"max_session_files": 2}, 3, 1, ["kept_files"], 2),
        ({"max_output_files": 2}, 3, 1, ["kept_files"], 2),
        ({"file_mb": 1}, 3, MB + 1, ["kept_file_size"], 0),
        ({"files_mb": 1}, 3, MB // 2, ["kept_bytes"], 2),
    ],
)
def test_files_that_are_not_kept_are_told(
    alice: Caller,
    limits: dict[str, int],
    count: int,
    size: int,
    expected: list[str],
    listed: int,
) -> None:
    outcome = run(change(alice, **limits), WRITE.format(count=count, size=size))
    assert (hit(outcome), len(outcome.outputs)) == (expected, listed)
    assert outcome.verdict.status == Execution.Status.SUCCEEDED
    assert ("missing from the answer" in outcome.verdict.stderr) == bool(expected)


def test_a_container_that_died_of_memory_says_so(alice: Caller, fake: FakeEngine) -> None:
    first = run(alice, "print(1)")
    [container] = fake.list()

    def abandoned() -> bool:
        fake.kill(container.name, oom=True)
        return False

    request = RunRequest(
        language="py", code="import time; time.sleep(9)", session_id=first.session.pk
    )
    outcome = services.execute(alice, request, abandoned=abandoned)
    assert hit(outcome) == ["memory"]


def test_files_for_which_there_is_no_room_say_which_limit_that_is(
    alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = put(alice, ("given.txt", b"1")).files[0]

    def full(*_: object) -> list[str]:
        return ["given.txt"]

    monkeypatch.setattr("sandbox.runner.writing.put", full)
    outcome = run(alice, "print(1)", files=[ref(given)])
    assert hit(outcome) == ["workspace_bytes"]
    assert "no room in the workspace for given.txt" in outcome.verdict.stderr
