from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import Func, Q, TextField
from django.utils import timezone

from audit import search
from audit.admin import searching
from audit.models import Execution, SandboxContainer, SandboxFile, SandboxInput, SandboxSession
from keys.models import APIKey

Make = Callable[..., Execution]


@pytest.fixture
def make_run(db: None) -> Make:
    """A run with its session and container, a file it wrote and one it was given."""
    key, _ = APIKey.issue(name="Alice")

    def make(*, text: str = "plain", name: str = "chart.png", **fields: Any) -> Execution:
        soon = timezone.now() + timedelta(hours=48)
        session = SandboxSession.objects.create(
            key=key,
            origin=SandboxSession.Origin.RUN,
            user_id=text,
            entity_id=text,
            resource_id=text,
            hint=f"{text}{SandboxSession.objects.count()}",
            expires_at=soon,
        )
        container = SandboxContainer.objects.create(
            session=session,
            image="custom-rce-kernel:latest",
            state=SandboxContainer.State.IDLE,
            manifest={name: text},
            end_reason=text,
        )
        run = Execution.objects.create(
            **{
                "key": key,
                "session": session,
                "container": container,
                "language": "py",
                "user_id": text,
                "entity_id": text,
                "code": f"print({text!r})\nprint('line two')",
                "args": [text],
                "stdout": text,
                "stderr": text,
                "message": text,
                "signal": "SIGKILL",
                "status": Execution.Status.SUCCEEDED,
                "step_ms": {"claim": 2, "run": 1200},
            }
            | fields
        )
        SandboxFile.objects.create(
            session=session,
            execution=run,
            name=name,
            size=2048,
            sha256="ab" * 32,
            content_type=text,
        )
        upload = SandboxSession.objects.create(
            key=key, origin=SandboxSession.Origin.UPLOAD, expires_at=soon
        )
        given = SandboxFile.objects.create(
            session=upload, name=f"given-{name}", size=1, sha256="cd" * 32, content_type="text/csv"
        )
        SandboxInput.objects.create(session=session, file=given, name=f"given-{name}")
        return run

    return make


@pytest.fixture(params=["few candidates", "many"])
def slow_search(
    make_run: Make, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """To read a candidate takes a minute: in the search itself, or in the list's own question."""
    slept = Func(template="pg_sleep(60)::text", output_field=TextField())
    monkeypatch.setattr(search, "_in_columns", lambda phrase, scope: Q(user_id=slept))
    monkeypatch.setattr(search, "FEW", 100 if request.param == "few candidates" else 0)
    monkeypatch.setattr(searching, "MILLISECONDS", 500)
    make_run(code="needle")
