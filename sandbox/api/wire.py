"""What LibreChat gets back from a run, in every version's spelling at once."""

from __future__ import annotations

from audit.models import Execution
from sandbox.answers import MAX_SKIPPED_NAMES, Skipped
from sandbox.api.listings import Answer, extras, location
from sandbox.services import Inherited, Outcome, Output, RunRequest

STATUS = {Execution.Status.TIMED_OUT: "TO", Execution.Status.OUT_OF_MEMORY: "SG"}
OUTPUT_TOO_LONG = "OL"
LANGUAGE = {"py": "python", "js": "javascript", "bash": "bash"}


def outcome(outcome: Outcome, request: RunRequest) -> Answer:
    verdict, execution, session = outcome.verdict, outcome.execution, outcome.session
    answer: Answer = {
        "session_id": session.pk,
        "stdout": verdict.stdout,
        "stderr": verdict.stderr,
        "files": [
            *(generated(output, execution.user_id) for output in outcome.outputs),
            # An old client would take its unchanged input for a new file.
            *(inherited(item) for item in outcome.inherited if not item.ref.legacy),
        ],
        "code": verdict.exit_code,
        "signal": verdict.signal or None,
        "status": status(outcome),
        "message": verdict.message or None,
        "wall_time": execution.wall_ms,
        "cpu_time": execution.cpu_ms,
        "memory": execution.memory_bytes,
        "language": LANGUAGE[request.language],
    }
    if execution.limits_hit:
        answer["limits_hit"] = execution.limits_hit
    if outcome.skipped.reasons:
        answer["artifact_truncation"] = truncation(outcome.skipped)
    if outcome.deleted:
        answer["deleted_files"] = outcome.deleted
    if request.hint:
        answer["runtime_session_id"] = session.pk
        answer["runtime_status"] = "reused" if outcome.reused else "new"
    return answer


def status(outcome: Outcome) -> str | None:
    """None means that the program ended by itself, well or not."""
    ended = STATUS.get(Execution.Status(outcome.verdict.status))
    return ended or (OUTPUT_TOO_LONG if outcome.verdict.stdout_cut else None)


def generated(output: Output, user_id: str) -> Answer:
    file = output.file
    answer: Answer = {"id": file.pk, "name": file.name} | location(file.session_id) | extras(file)
    if user_id:
        answer |= {"kind": "user", "resource_id": user_id}
    if before := output.modified_from:
        answer["modified_from"] = {"id": before.pk} | location(before.session_id)
    return answer


def inherited(item: Inherited) -> Answer:
    """The client merges this over what it knows of the file: whatever differs from the request
    would replace the file's identity there."""
    ref, file = item.ref, item.file
    identity = {
        "kind": ref.kind,
        "resource_id": ref.resource_id,
        "version": ref.version,
        "entity_id": ref.entity_id,
    }
    return (
        {"id": ref.id or file.pk, "name": ref.name or file.name, "inherited": True}
        | location(ref.session_id or file.session_id)
        | {key: value for key, value in identity.items() if value is not None}
        | extras(file)
    )


def truncation(skipped: Skipped) -> Answer:
    """Clients ignore it unless the reasons add up to the count."""
    return {
        "code": "artifact_truncated",
        "reasons": skipped.reasons,
        "skipped": skipped.names[:MAX_SKIPPED_NAMES],
        "skipped_count": sum(skipped.reasons.values()),
    }
