from __future__ import annotations

from datetime import UTC, datetime

import pytest
import time_machine
from django.db import IntegrityError
from django.utils import timezone

from audit.models import Execution, SandboxSession
from audit.models.session import LEASE
from keys.models import APIKey
from tests.unit.audit.conftest import Make
from tests.unit.sandbox.helpers import lease

pytestmark = pytest.mark.django_db


@pytest.fixture
def session() -> SandboxSession:
    return SandboxSession.objects.create(
        key=APIKey.issue(name="Alice")[0],
        origin=SandboxSession.Origin.RUN,
        expires_at=datetime(2040, 1, 1, tzinfo=UTC),
    )


def test_only_one_run_has_the_session(session: SandboxSession) -> None:
    token = lease(session)
    assert token is not None
    assert lease(session) is None
    assert session.release(token)
    assert lease(session) is not None


def test_a_lease_that_is_not_renewed_ends(session: SandboxSession) -> None:
    with time_machine.travel("2030-01-01 12:00Z", tick=False) as clock:
        lost = lease(session)
        assert lost is not None
        clock.shift(LEASE)
        taken = lease(session)
        assert taken is not None
        assert not session.renew_lease(lost)
        assert not session.release(lost)
        assert session.renew_lease(taken)


def test_a_renewed_lease_goes_on(session: SandboxSession) -> None:
    with time_machine.travel("2030-01-01 12:00Z", tick=False) as clock:
        token = lease(session)
        assert token is not None
        clock.shift(LEASE / 2)
        assert session.renew_lease(token)
        clock.shift(LEASE / 2)
        assert lease(session) is None


def test_an_ended_session_is_not_leased(session: SandboxSession) -> None:
    session.ended_at = timezone.now()
    session.save()
    assert lease(session) is None


def test_a_hint_names_one_live_session_of_an_owner(session: SandboxSession) -> None:
    def another(**fields: object) -> SandboxSession:
        given = {"key": session.key, "origin": "run", "user_id": "ann", "hint": "chat"} | fields
        return SandboxSession.objects.create(expires_at=session.expires_at, **given)

    another(ended_at=timezone.now())
    another()
    another(user_id="ben")
    another(key=APIKey.issue(name="Bob")[0])
    another(hint="")
    another(hint="")
    with pytest.raises(IntegrityError, match="one_live_session_per_hint"):
        another()


def test_a_run_that_has_ended_is_not_aborted(make_run: Make) -> None:
    done, running = make_run(), make_run(status=Execution.Status.RUNNING)
    assert not done.abort("The server stopped.")
    assert running.abort("x" * 1000)
    done.refresh_from_db()
    running.refresh_from_db()
    assert done.status == Execution.Status.SUCCEEDED
    assert running.status == Execution.Status.ABORTED
    assert running.message == "x" * 255
    assert running.ended_at is not None
