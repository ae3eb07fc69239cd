"""Somebody of each role that the migration makes."""

from __future__ import annotations

from importlib import import_module

from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import connection

ROLES = ("viewer", "operator", "key manager")


def make_roles() -> None:
    """As the migration does. Tests that empty all tables leave none of what it made."""
    with connection.schema_editor(atomic=False) as editor:
        import_module("audit.migrations.0012_roles").create(apps, editor)


def staff(role: str = "", password: str = "") -> User:
    """Without a role: who may log in, and nothing else."""
    make_roles()
    user = User.objects.create_user(role or "nobody", password=password or None, is_staff=True)
    if role:
        user.groups.add(Group.objects.get(name=role))
    return user
