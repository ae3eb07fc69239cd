"""What a role may see of a run: that it was is one thing, what was in it another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.search import Scope

if TYPE_CHECKING:
    from django.http import HttpRequest


def scope(request: HttpRequest) -> Scope:
    may = request.user.has_perm
    return Scope(
        code=may("audit.view_code"),
        output=may("audit.view_output"),
        files=may("audit.view_sandboxfile"),
    )


def may_download(request: HttpRequest) -> bool:
    """What programs wrote is output as well."""
    wanted = ("audit.view_sandboxfile", "audit.view_output", "audit.download_sandboxfile")
    return request.user.has_perms(wanted)
