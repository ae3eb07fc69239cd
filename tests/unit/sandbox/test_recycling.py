"""An idle container is emptied for another session of the same owner, and of nobody else."""

import shutil
import threading
from collections import Counter
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone
from pytest_django import Settings

from audit.models import Execution, SandboxContainer, SandboxSession
from keys.models import APIKey
from sandbox import keeper, pool
from sandbox.engines.base import Attachment
from sandbox.errors import SandboxError
from sandbox.runner.protocol import CONTROL, parse_control
from sandbox.services import Caller
from tests.fakes.attachment import frames
from tests.fakes.engine import FakeEngine
from tests.unit.sandbox.helpers import lease, put, ref, run

State, Source = SandboxContainer.State, Execution.Source

LOOK = "import os; print(sorted(os.listdir()), sorted(os.listdir(os.environ['TMPDIR'])))"
WRITE = """
import os
open('a.txt', 'w').write('one')
open(os.environ['TMPDIR'] + '/secret', 'w').close()
"""


@pytest.fixture(autouse=True)
def no_pool(settings: Settings, fake: FakeEngine) -> None:
    settings.SANDBOX_POOL_SIZE = 0


def source(outcome: Any) -> str:
    return str(Execution.objects.get(pk=outcome.execution.pk).container_source)


def test_a_new_session_of_the_same_owner_gets_an_idle_container_emptied(
    alice: Caller, fake: FakeEngine
) -> None:
    first = run(alice, WRITE)
    second = run(alice, LOOK)
    assert second.verdict.stdout == "['main.py'] []\n"
    assert source(second) == Source.RECYCLED
    assert not second.reused
    assert len(fake.created) == 1
    again = run(alice, "print(open('a.txt').read())", session_id=first.session.pk)
    assert again.verdict.stdout == "one\n"
    assert source(again) == Source.RECYCLED
    [container] = SandboxContainer.objects.occupying()
    assert (container.state, container.session) == (State.IDLE, first.session)


def test_what_the_former_session_had_is_no_change_of_the_new_one(alice: Caller) -> None:
    given = put(alice, ("given.txt", b"1")).files[0]
    run(alice, WRITE)
    outcome = run(alice, "open('new.txt', 'w').close()", files=[ref(given)])
    assert source(outcome) == Source.RECYCLED
    assert [output.file.name for output in outcome.outputs] == ["new.txt"]
    assert outcome.deleted == []


def test_a_container_never_passes_to_another_owner(alice: Caller, bob: Caller) -> None:
    owners = [
        alice,
        bob,
        Caller(key=alice.key, user_id="ann"),
        Caller(key=alice.key, user_id="ben"),
        Caller(key=bob.key, user_id="ann"),
    ]
    first = [run(owner, WRITE) for owner in owners]
    assert {source(outcome) for outcome in first} == {Source.CREATED}
    second = [run(owner, LOOK) for owner in owners]
    assert {source(outcome) for outcome in second} == {Source.RECYCLED}
    for before, after in zip(first, second, strict=True):
        assert before.execution.container == after.execution.container


def test_for_another_owner_it_makes_room_instead(
    alice: Caller, bob: Caller, fake: FakeEngine, settings: Settings
) -> None:
    settings.SANDBOX_MAX_CONTAINERS = 1
    run(alice, WRITE)
    outcome = run(bob, LOOK)
    assert source(outcome) == Source.CREATED
    assert len(fake.removed) == 1


def test_it_can_be_switched_off(alice: Caller, settings: Settings) -> None:
    settings.SANDBOX_RECYCLE = False
    run(alice, WRITE)
    assert source(run(alice, LOOK)) == Source.CREATED


def test_a_warm_container_comes_before_an_idle_one(alice: Caller, settings: Settings) -> None:
    run(alice, WRITE)
    settings.SANDBOX_POOL_SIZE = 1
    assert keeper.refill() == 1
    assert source(run(alice, LOOK)) == Source.POOL
    assert source(run(alice, LOOK)) == Source.RECYCLED


def test_the_least_recently_used_one_is_recycled(alice: Caller, settings: Settings) -> None:
    settings.SANDBOX_RECYCLE = False
    first, second = run(alice, WRITE), run(alice, WRITE)
    settings.SANDBOX_RECYCLE = True
    run(alice, LOOK, session_id=first.session.pk)
    third = run(alice, LOOK)
    assert third.execution.container == second.execution.container


def test_the_container_of_a_session_whose_run_has_begun_is_left_to_it(alice: Caller) -> None:
    first = run(alice, WRITE)
    assert lease(first.session)
    assert source(run(alice, LOOK)) == Source.CREATED


def test_one_of_an_older_image_is_not_recycled(alice: Caller) -> None:
    run(alice, WRITE)
    SandboxContainer.objects.update(image="older")
    assert source(run(alice, LOOK)) == Source.CREATED


def test_one_that_cannot_be_emptied_is_discarded(alice: Caller, fake: FakeEngine) -> None:
    run(alice, WRITE)
    [container] = fake._containers.values()
    shutil.rmtree(container.root / "shm")
    outcome = run(alice, LOOK)
    assert outcome.verdict.stdout == "['main.py'] []\n"
    assert source(outcome) == Source.CREATED
    assert fake.removed == [container.name]


def test_dead_ones_are_discarded_until_a_new_one_serves(
    alice: Caller, fake: FakeEngine, settings: Settings
) -> None:
    settings.SANDBOX_RECYCLE = False
    for _ in range(5):
        run(alice, WRITE)
    settings.SANDBOX_RECYCLE = True
    for info in fake.list():
        fake.kill(info.name)
    assert source(run(alice, LOOK)) == Source.CREATED


def test_a_session_that_ended_gives_its_container_up_only_while_it_has_it(
    alice: Caller, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper found it idle; then another session claimed it."""
    settings.SANDBOX_RECYCLE = False
    for _ in range(2):
        run(alice, WRITE)
    SandboxSession.objects.update(expires_at=timezone.now())
    ended: list[SandboxContainer] = []

    def claim(container: SandboxContainer, _: str) -> None:
        """The other one, while the keeper ends this one."""
        ended.append(container)
        SandboxContainer.objects.idle().update(state=State.LEASED)

    monkeypatch.setattr(pool, "discard", claim)
    keeper.reap_sessions()
    assert len(ended) == 1
    assert SandboxContainer.objects.get(state=State.LEASED) not in ended


def test_nothing_is_written_into_a_container_before_it_is_empty(
    alice: Caller, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(alice, WRITE)
    verbs: list[str] = []
    attach = fake.attach

    def noting(name: str) -> Attachment:
        attachment = attach(name)
        send = attachment.send

        def say(data: bytes) -> None:
            verbs.extend(
                parse_control(said)["verb"] for kind, said in frames(data) if kind == CONTROL
            )
            send(data)

        monkeypatch.setattr(attachment, "send", say)
        return attachment

    monkeypatch.setattr(fake, "attach", noting)
    given = put(alice, ("given.txt", b"1")).files[0]
    run(alice, LOOK, files=[ref(given)])
    assert verbs == ["reset", "put", "run"]


@pytest.mark.django_db(transaction=True)
def test_a_burst_of_new_and_old_sessions_is_served_each_in_its_own_clean_workspace(
    fake: FakeEngine, settings: Settings
) -> None:
    """Fifty requests at once of four owners, with room for eight containers and two hot ones."""
    settings.SANDBOX_POOL_SIZE = 2
    settings.SANDBOX_MAX_CONTAINERS = 8
    keys = [APIKey.issue(name=name)[0] for name in ("Alice", "Bob")]
    owners = [Caller(key=key, user_id=user) for key in keys for user in ("", "ann")]
    keeper.refill()
    answers: dict[int, str] = {}
    errors: list[Exception] = []
    barrier = threading.Barrier(50)

    def once(number: int) -> None:
        code = f"import os; print(os.listdir(), {number}); open('{number}.txt', 'w').close()"
        try:
            barrier.wait()
            outcome = run(owners[number % 4], code, hint="same" if number >= 40 else "")
            answers[number] = outcome.verdict.stdout
        except (SandboxError, DatabaseError) as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=once, args=[number]) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [answers[number] for number in range(40)] == [f"['main.py'] {n}\n" for n in range(40)]
    for number in range(40, 50):
        seen = {f"{other}.txt" for other in range(40, 50) if other % 4 == number % 4}
        found = set(eval(answers[number].rpartition(" ")[0]))  # noqa: S307
        assert found <= seen | {"main.py"}
    served = Execution.objects.select_related("session", "container")
    owners_of: dict[str, set[tuple[int, str]]] = {}
    for execution in served:
        owner = (execution.session.key_id, execution.session.user_id)
        owners_of.setdefault(execution.container_id or "", set()).add(owner)
    assert all(len(owners) == 1 for owners in owners_of.values())
    counted = Counter(execution.container_source for execution in served)
    assert counted[Source.POOL] >= 2
    assert counted[Source.RECYCLED] > 0
    assert not SandboxSession.objects.exclude(lease_expires_at=None).exists()
    assert not SandboxContainer.objects.filter(state=State.LEASED).exists()
    assert SandboxContainer.objects.occupying().count() <= 8
