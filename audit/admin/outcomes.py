from __future__ import annotations

from audit.models import Execution
from keys.admin.theme import label

STATUSES = {
    Execution.Status.RUNNING: "info",
    Execution.Status.SUCCEEDED: "success",
    Execution.Status.FAILED: "warning",
    Execution.Status.TIMED_OUT: "danger",
    Execution.Status.OUT_OF_MEMORY: "danger",
    Execution.Status.ABORTED: "danger",
}


def outcome(run: Execution) -> str:
    return label(run.get_status_display(), STATUSES[Execution.Status(run.status)])
