"""What operators do to runs, sessions and containers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Q
from django.utils import timezone

from audit.models import Execution, LiveRun, SandboxContainer, SandboxSession
from sandbox import keeper, pool

REMOVABLE = (SandboxContainer.State.WARM, SandboxContainer.State.IDLE)


@dataclass(frozen=True, slots=True)
class Expired:
    """How many sessions have ended, and of how many a run has to stop first."""

    ended: int
    stopping: int


def stop(run: Execution) -> bool:
    """Ask for a run's end: its worker sees that within about a second. False if it has ended, or
    somebody has asked before."""
    return LiveRun.objects.ask_to_stop(run.pk)


def stop_runs_of(session_ids: Sequence[str]) -> list[Execution]:
    """Those that wait for their turn as well; which of them nobody has stopped before."""
    running = Execution.objects.running().filter(session__in=session_ids)
    return [run for run in running.defer("code", "stdout", "stderr") if stop(run)]


def expire(session_ids: Sequence[str]) -> Expired:
    """End sessions as if they had not been used for too long: files and containers go, rows stay.
    One whose run is going on ends when that has been stopped."""
    live = SandboxSession.objects.live().filter(pk__in=session_ids)
    expired = live.update(expires_at=timezone.now())
    stop_runs_of(session_ids)
    ended = keeper.reap_sessions(Q(pk__in=session_ids))
    return Expired(ended=ended, stopping=max(0, expired - ended))


def remove_container(container: SandboxContainer) -> bool:
    """Its session's files stay, as they are in the store. False if a run is in it, or it is not
    ready yet or has gone."""
    mine = SandboxContainer.objects.filter(pk=container.pk, state__in=REMOVABLE)
    if not mine.update(state=SandboxContainer.State.GONE):
        return False
    pool.discard(container, "removed by an operator")
    return True
