"""What one run's page shows above the fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.urls import reverse
from django.utils import timezone

from audit.admin.outcomes import outcome
from audit.admin.records import duration, link, quoted, size
from audit.admin.seeing import may_download, scope
from audit.highlighting import highlighted
from audit.models import Execution, SandboxFile
from audit.steps import STEPS
from keys.visible import visible

if TYPE_CHECKING:
    from django.http import HttpRequest

LISTED_FILES = 200
LISTED_RUNS = 10


@dataclass(frozen=True, slots=True)
class Step:
    """A bar in the timeline; `begins` and `width` are in thousandths of the whole."""

    name: str
    time: str
    begins: float
    width: float


@dataclass(frozen=True, slots=True)
class ListedFile:
    link: str
    size: str
    download: str


@dataclass(frozen=True, slots=True)
class OtherRun:
    link: str
    badge: str
    language: str
    time: str

    @classmethod
    def of(cls, run: Execution) -> OtherRun:
        when = f"{run.created_at:%Y-%m-%d %H:%M:%S}"
        return cls(link(run, when), outcome(run), visible(run.language), duration(run.wall_ms))


def timeline(run: Execution) -> list[Step]:
    """The steps follow each other; a later version may know more of them."""
    known = [step for step in STEPS if step in run.step_ms]
    others = sorted(run.step_ms.keys() - {*known, "total"})
    taken = [(step, float(run.step_ms[step])) for step in (*known, *others)]
    whole = sum(ms for _, ms in taken) or 1
    bars: list[Step] = []
    begins = 0.0
    for name, ms in taken:
        bars.append(
            Step(
                name=visible(name).replace("_", " "),
                time=duration(run.step_ms[name]),
                begins=round(1000 * begins / whole, 1),
                # Thinner than this could not be seen.
                width=max(round(1000 * ms / whole, 1), 3),
            )
        )
        begins += ms
    return bars


def other_runs(run: Execution) -> dict[str, list[OtherRun]]:
    columns = ("created_at", "status", "language", "wall_ms")
    others = Execution.objects.exclude(pk=run.pk).only(*columns)
    found = {"Other runs of this session": others.filter(session=run.session_id)}
    if run.user_id:
        of_user = others.filter(key=run.key_id, user_id=run.user_id)
        found["Other runs of this user"] = of_user.exclude(session=run.session_id)
    return {
        title: [OtherRun.of(each) for each in runs[:LISTED_RUNS]] for title, runs in found.items()
    }


def files(request: HttpRequest, run: Execution) -> dict[str, list[ListedFile]]:
    written = run.files.select_related("session").order_by("name")[:LISTED_FILES]
    given = run.session.inputs.select_related("file__session").order_by("name")[:LISTED_FILES]
    can_download = may_download(request)

    def listed(file: SandboxFile, name: str) -> ListedFile:
        ready = can_download and is_kept(file)
        return ListedFile(link(file, name), size(file.size), download_url(file) if ready else "")

    return {
        "Files it wrote": [listed(file, file.name) for file in written],
        "Files given to its session": [listed(entry.file, entry.name) for entry in given],
    }


def is_kept(file: SandboxFile) -> bool:
    """Whether its bytes are still there."""
    session = file.session
    is_live = session.ended_at is None and session.expires_at > timezone.now()
    return file.deleted_at is None and is_live


def download_url(file: SandboxFile) -> str:
    """Of the view in `sandbox.admin`, which knows the store."""
    return reverse("admin:audit_sandboxfile_download", args=(quoted(file),))


def page(request: HttpRequest, run: Execution) -> dict[str, Any]:
    seen = scope(request)
    code = visible(run.code) if seen.code else ""
    has_output = run.output_record == Execution.Record.STORED
    outputs = []
    if seen.output and has_output:
        outputs = [
            ("Output", "stdout", visible(run.stdout), written(run.stdout, run.stdout_bytes)),
            ("Errors", "stderr", visible(run.stderr), written(run.stderr, run.stderr_bytes)),
        ]
    return {
        "seen": seen,
        "code": code,
        "code_html": highlighted(code, run.language),
        "no_code": _why_missing(run.code_record, run.get_code_record_display()),
        "outputs": outputs,
        "no_output": _why_missing(run.output_record, run.get_output_record_display()),
        "files": files(request, run) if seen.files else {},
        "timeline": timeline(run),
        "whole": duration(run.step_ms.get("total")),
        "other_runs": other_runs(run),
    }


def _why_missing(record: str, said: str) -> str:
    return "" if record == Execution.Record.STORED else f"{said[:1].upper()}{said[1:]}."


def written(text: str, number: int) -> str:
    """How much it is, and of how much, if something was cut off."""
    kept = len(text.encode())
    if not text:
        return ""
    lines = text.count("\n") + (not text.endswith("\n"))
    of = f" of {size(number)}" if number > kept else ""
    return f"{lines:,} line{'' if lines == 1 else 's'}, {size(kept)}{of}"
