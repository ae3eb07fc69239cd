"""Whose a session is, and so its files: the one rule that keeps callers apart."""

from __future__ import annotations

from django.db.models import Q

from audit.models import SandboxSession
from sandbox.services.requests import Caller

Kind = SandboxSession.Kind


def belongs_to(caller: Caller, session: str = "") -> Q:
    """For a query of sessions, or of what has one under the name that is given."""
    prefix = f"{session}__" if session else ""
    owned = Q(**{f"{prefix}key": caller.key})
    return owned & _of_user(caller, prefix) if caller.user_is_proven else owned


def _of_user(caller: Caller, prefix: str) -> Q:
    """Where a token proves the user, what is another user's is as if it were not there. Skills and
    agents are all users' of a tenant, also in the older form that names an entity only."""
    mine = Q(**{f"{prefix}user_id": caller.user_id})
    shared = Q(**{f"{prefix}kind__in": [Kind.AGENT, Kind.SKILL]})
    labelled = Q(**{f"{prefix}kind": "", f"{prefix}origin": SandboxSession.Origin.UPLOAD}) & ~Q(
        **{f"{prefix}entity_id": ""}
    )
    return mine | shared | labelled
