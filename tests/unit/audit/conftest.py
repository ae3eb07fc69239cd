from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

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
