from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from audit.models import Execution, HourlyCount, RolledUpHour, SandboxSession
from sandbox import keeper
from sandbox.services import Caller
from sandbox.upkeep import Upkeep
from tests.fakes.engine import FakeEngine

pytestmark = pytest.mark.django_db


def test_the_keeper_counts_the_runs_of_hours_that_are_over_also_of_those_that_it_aborts(
    fake: FakeEngine, alice: Caller
) -> None:
    now = timezone.now()
    session = SandboxSession.objects.create(
        key=alice.key, origin="run", expires_at=now + timedelta(days=1)
    )
    for status in ("succeeded", "running"):
        Execution.objects.create(
            key=alice.key,
            session=session,
            language="py",
            status=status,
            created_at=now - timedelta(hours=3),
        )
    keeper.tidy()
    Upkeep().pass_once()
    assert RolledUpHour.objects.exists()
    counted = HourlyCount.objects.filter(facet="outcome").values_list("value", "runs", "key")
    assert set(counted) == {("succeeded", 1, alice.key.pk), ("aborted", 1, alice.key.pk)}
