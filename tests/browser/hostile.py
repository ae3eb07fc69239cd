"""What programs, users and LibreChat may have written, in every place where the admin shows it."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from audit.models import Execution, SandboxContainer, SandboxFile, SandboxInput, SandboxSession
from keys.models import APIKey

# If any of it runs, it is a dialog, a request to another host, or another title.
RUNS = "document.title='owned';alert(1);fetch('http://evil.invalid/')"
HOSTILE = {
    "script": f"<script>{RUNS}</script>",
    "handler": f'"><img src=http://evil.invalid/x onerror="{RUNS}"><svg onload="{RUNS}">',
    "attribute": f"' onmouseover='{RUNS}' autofocus onfocus='{RUNS}' x='",
    "link": "javascript:alert(1)",
    # The theme's Alpine would evaluate attributes like these.
    "alpine": f'<div x-data x-init="{RUNS}" x-html="\'<b>\'" @click="{RUNS}"></div>',
    "template": "{{ 7|add:7 }}{% debug %}{# c #}${7*7}<%= 7*7 %>",
    "closing": f"</pre></textarea></title></script></style>--><script>{RUNS}</script>",
    "frame": "<iframe src=http://evil.invalid/></iframe><base href=http://evil.invalid/>",
    "style": "<style>*{display:none}</style><link rel=stylesheet href=http://evil.invalid/>",
    "meta": "<meta http-equiv=refresh content='0;url=http://evil.invalid/'>",
    "order": "admin\u202eexe.\u2066gpj\u2069\u200f",
    "escapes": "\x1b[2J\x1b]0;owned\x07\x1b[31mred\x08\x08",
    "percent": "%s %(x)s {0} {x!r} %3Cscript%3E",
}
LONG_LINE = "<b>" + "x" * 1_000_000


def everywhere(text: str) -> Execution:
    """One run and all around it, with the text in each field that others can choose."""
    key, _ = APIKey.issue(name=text[:100], note=text)
    expires_at = timezone.now() + timedelta(hours=1)
    session = SandboxSession.objects.create(
        key=key,
        origin="run",
        user_id=text[:128],
        entity_id=text[:128],
        resource_id=text[:128],
        hint=text[:128],
        expires_at=expires_at,
    )
    container = SandboxContainer.objects.create(
        session=session, state="gone", end_reason=text[:64], manifest={text[:200]: text[:200]}
    )
    run = Execution.objects.create(
        key=key,
        session=session,
        container=container,
        user_id=text[:128],
        entity_id=text[:128],
        language="py",
        code=f"needle = 1\n{text}",
        args=[text[:1000]],
        stdout=text,
        stderr=text,
        status=Execution.Status.FAILED,
        message=text[:255],
        signal="KILL",
        wall_ms=30_000,
    )
    file = SandboxFile.objects.create(
        session=session,
        execution=run,
        name=text[:1000],
        size=5,
        sha256="ab" * 32,
        content_type=text[:255],
    )
    SandboxInput.objects.create(session=session, file=file, name=text[:1000])
    return run
