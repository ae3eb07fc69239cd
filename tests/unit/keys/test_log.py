"""Who did what in the admin is in Django's log, and no secret is."""

from __future__ import annotations

import json

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from keys.models import APIKey, Issuer
from tests.tokens import Signer

pytestmark = pytest.mark.django_db

SCOPES = ["exec", "files"]


def last(model: type[APIKey | Issuer | User | Group], flag: int) -> str:
    """What the newest entry says, which is about that."""
    entry = LogEntry.objects.select_related("content_type", "user").latest("pk")
    assert entry.user.username == "admin"
    assert entry.action_flag == flag
    assert entry.content_type is not None
    assert entry.content_type.model_class() is model
    return f"{entry.object_repr}: {entry.get_change_message()}"


def everything() -> str:
    return json.dumps(list(LogEntry.objects.values()), default=str)


def test_what_is_done_to_a_key(admin_client: Client) -> None:
    add = reverse("admin:keys_apikey_add")
    text = admin_client.post(add, {"name": "Chat", "scopes": SCOPES}).content.decode()
    key = APIKey.objects.get()
    assert f"lci_{key.prefix}" in text
    assert last(APIKey, ADDITION) == "Chat: Added."
    page = reverse("admin:keys_apikey_change", args=(key.pk,))
    admin_client.post(page, {"name": "Chat", "scopes": SCOPES, "memory_mb": 256})
    assert "Changed Memory" in last(APIKey, CHANGE)
    rotate = reverse("admin:keys_apikey_rotate", args=(key.pk,))
    text += admin_client.post(rotate, {"grace_hours": 2}).content.decode()
    assert last(APIKey, CHANGE) == "Chat: Rotated, 2 hours of grace."
    revoke = reverse("admin:keys_apikey_revoke", args=(key.pk,))
    admin_client.post(revoke, {"confirmed": "yes"})
    assert last(APIKey, CHANGE) == "Chat: Revoked."
    other, secret = APIKey.issue(name="Other")
    admin_client.post(
        reverse("admin:keys_apikey_changelist"),
        {"action": "revoke_selected", "_selected_action": [other.pk], "confirmed": "yes"},
    )
    assert last(APIKey, CHANGE) == "Other: Revoked."
    key.refresh_from_db()
    log = everything()
    assert [each for each in (key.digest, key.former_digest, secret) if each and each in log] == []
    # A secret begins with what tells keys apart, and the pages show it before that.
    assert f"lci_{key.prefix}" not in log


def test_what_is_done_to_an_issuer(admin_client: Client) -> None:
    first, second = Signer(), Signer()
    fields = {
        "name": "Chat",
        "enabled": "on",
        "iss": "chat",
        "aud": "codeapi",
        "public_keys": first.pem,
        "scopes": SCOPES,
    }
    admin_client.post(reverse("admin:keys_issuer_add"), fields)
    issuer = Issuer.objects.get()
    assert last(Issuer, ADDITION) == "Chat: Added."
    page = reverse("admin:keys_issuer_change", args=(issuer.pk,))
    del fields["enabled"]
    admin_client.post(page, fields)
    assert last(Issuer, CHANGE) == "Chat: Changed On."
    admin_client.post(page, {**fields, "enabled": "on", "public_keys": second.pem, "pids": 64})
    assert last(Issuer, CHANGE) == "Chat: Changed On, Public keys and Processes."
    admin_client.post(reverse("admin:keys_issuer_delete", args=(issuer.pk,)), {"post": "yes"})
    assert last(Issuer, DELETION) == "Chat: "
    assert not Issuer.objects.exists()
    assert "BEGIN PUBLIC KEY" not in everything()


def test_what_is_done_to_users_and_roles(admin_client: Client) -> None:
    secret = "a long pass phrase"
    admin_client.post(reverse("admin:auth_group_add"), {"name": "auditor", "permissions": []})
    assert last(Group, ADDITION) == "auditor: Added."
    role = Group.objects.get(name="auditor")
    added = {"username": "ann", "usable_password": "true", "password1": secret, "password2": secret}
    admin_client.post(reverse("admin:auth_user_add"), added)
    assert last(User, ADDITION) == "ann: Added."
    ann = User.objects.get(username="ann")
    page = reverse("admin:auth_user_change", args=(ann.pk,))
    admin_client.post(page, {"username": "ann", "is_active": "on", "groups": [role.pk]})
    assert "Groups" in last(User, CHANGE)
    assert list(ann.groups.all()) == [role]
    assert "auditor" in admin_client.get(reverse("admin:auth_user_changelist")).content.decode()
    admin_client.post(
        reverse("admin:auth_user_password_change", args=(ann.pk,)),
        {"usable_password": "true", "password1": f"{secret} 2", "password2": f"{secret} 2"},
    )
    assert last(User, CHANGE) == "ann: Changed password."
    admin_client.post(reverse("admin:auth_user_delete", args=(ann.pk,)), {"post": "yes"})
    assert last(User, DELETION) == "ann: "
    ann_password = ann.password
    assert secret not in everything()
    assert ann_password not in everything()
