"""The statement that begins a run writes and reads what Django would."""

from datetime import timedelta

import pytest
from django.db import models
from django.forms.models import model_to_dict
from django.utils import timezone

from audit.models import Execution, SandboxContainer, SandboxSession
from sandbox import keeper
from sandbox.errors import SandboxError
from sandbox.services import Caller, RunRequest, executing
from sandbox.services.entering import enter
from tests.fakes.engine import FakeEngine
from tests.unit.sandbox.helpers import lease, run

pytestmark = pytest.mark.usefixtures("fake")

WRITE = "open('a.txt', 'w').write('one')"


def begun(caller: Caller) -> Execution:
    return Execution(
        key=caller.key,
        user_id="ü",
        client_address="10.0.0.1",
        language="py",
        code="print('%s {} \"')",
        args=["a", "'"],
    )


def columns(row: models.Model) -> dict[str, object]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def test_a_continued_session_comes_with_its_container_and_the_runs_row(alice: Caller) -> None:
    first = run(alice, WRITE)
    execution = begun(alice)
    request = RunRequest(language="py", code="", session_id=first.session.pk)
    entered = enter(alice, request, execution)
    assert entered.lease is not None
    assert entered.claim is not None
    session, container = SandboxSession.objects.get(), SandboxContainer.objects.get()
    assert columns(entered.session) == columns(session)
    assert columns(entered.claim.container) == columns(container)
    assert container.state == SandboxContainer.State.LEASED
    assert "a.txt" in entered.claim.container.manifest
    written = Execution.objects.get(pk=execution.pk)
    assert columns(execution) == columns(written)
    assert (written.container_source, written.lease_token) == ("session", session.lease_token)


def test_a_new_session_comes_with_a_warm_container_and_the_runs_row(alice: Caller) -> None:
    keeper.refill()
    execution = begun(alice)
    entered = enter(alice, RunRequest(language="py", code=""), execution)
    assert entered.claim is not None
    assert columns(entered.session) == columns(SandboxSession.objects.get())
    [container] = SandboxContainer.objects.filter(state="leased")
    assert columns(entered.claim.container) == columns(container)
    assert container.session == entered.session
    written = Execution.objects.get()
    assert columns(execution) == columns(written)
    assert model_to_dict(execution) == model_to_dict(written)


def test_without_a_container_at_hand_the_run_is_not_written_down_yet(alice: Caller) -> None:
    execution = begun(alice)
    entered = enter(alice, RunRequest(language="py", code=""), execution)
    assert entered.lease is not None
    assert entered.claim is None
    assert execution.container_source == ""
    assert SandboxSession.objects.get().lease_token == entered.lease.token
    assert not Execution.objects.exists()


def test_nothing_is_claimed_for_a_session_that_another_run_has(alice: Caller) -> None:
    first = run(alice, WRITE)
    lease(first.session)
    execution = begun(alice)
    request = RunRequest(language="py", code="", session_id=first.session.pk)
    entered = enter(alice, request, execution)
    assert (entered.session, entered.lease, entered.claim) == (first.session, None, None)
    assert SandboxContainer.objects.get().state == SandboxContainer.State.IDLE
    assert Execution.objects.count() == 1


def test_a_warm_container_is_left_to_those_who_wait_in_line(alice: Caller) -> None:
    keeper.refill()
    waiting = run(alice, "print(1)").session
    token = lease(waiting)
    Execution.objects.update(
        status=Execution.Status.RUNNING,
        container=None,
        lease_token=token,
        queued_at=timezone.now() - timedelta(seconds=1),
    )
    keeper.refill()
    assert enter(alice, RunRequest(language="py", code=""), begun(alice)).claim is None


def test_a_container_whose_runs_files_cannot_be_looked_up_is_not_kept(
    alice: Caller, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(alice, WRITE)

    def fail(*_: object) -> None:
        raise SandboxError("no files today")

    monkeypatch.setattr(executing, "assemble", fail)
    with pytest.raises(SandboxError):
        run(alice, "print(1)", session_id=first.session.pk)
    assert fake.list() == []
    assert SandboxSession.objects.get().lease_expires_at is None
    assert Execution.objects.latest("created_at").status == Execution.Status.ABORTED
