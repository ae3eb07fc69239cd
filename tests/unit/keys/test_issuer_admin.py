from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from keys.limits import Limits
from keys.models import APIKey, Issuer
from tests.tokens import KID, Signer

pytestmark = pytest.mark.django_db
LIST = "/admin/keys/issuer/"
ADD = "/admin/keys/issuer/add/"
KEYS = "/admin/keys/apikey/"


def form(signer: Signer, **changes: Any) -> dict[str, Any]:
    return {
        "name": "Chat",
        "enabled": "on",
        "iss": "librechat",
        "aud": "codeapi",
        "public_keys": signer.pem,
        "scopes": ["exec", "files"],
    } | changes


def page(issuer: Issuer, which: str = "change") -> str:
    return reverse(f"admin:keys_issuer_{which}", args=(issuer.pk,))


def test_an_issuer_made_in_the_admin_opens_the_api(admin_client: Client, signer: Signer) -> None:
    assert "openssl genpkey -algorithm ed25519" in admin_client.get(ADD).content.decode()
    assert admin_client.post(ADD, form(signer)).status_code == 302
    key, user_id = Issuer.authenticate(signer.mint("u7"))
    assert (key.issuer, user_id) == (Issuer.objects.get(), "u7")
    text = admin_client.get(page(Issuer.objects.get())).content.decode()
    assert f"{KID} (EdDSA, SHA-256 " in text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"public_keys": ""}, "This field is required"),
        ({"public_keys": "nonsense"}, "No public key"),
        ({"public_keys": Signer().private_pem}, "That is a private key"),
        ({"public_keys": '{"keys": [{"kty": "oct"}]}'}, "has no &quot;kid&quot;"),
        ({"scopes": []}, "This field is required"),
        ({"scopes": ["everything"]}, "Select a valid choice"),
        ({"networks": "10.0.3.7/24"}, "is not a network"),
        ({"networks": "10.0.3.0/24, nowhere"}, "is not a network"),
        ({"memory_mb": "1000000"}, "a key may only have less"),
        ({"iss": ""}, "This field is required"),
    ],
)
def test_a_form_says_what_is_wrong(
    admin_client: Client, signer: Signer, changes: dict[str, Any], reason: str
) -> None:
    answer = admin_client.post(ADD, form(signer, **changes))
    assert reason in answer.content.decode()
    assert not Issuer.objects.exists()


def test_a_tenants_limits_are_its_issuers(admin_client: Client, signer: Signer) -> None:
    admin_client.post(ADD, form(signer, memory_mb="256", networks="10.0.0.0/8, ::1/128"))
    key, _ = Issuer.authenticate(signer.mint())
    assert Limits.of(key).memory_mb == 256
    assert key.credential.networks == ["10.0.0.0/8", "::1/128"]
    Issuer.objects.update(memory_mb=200)
    again, _ = Issuer.authenticate(signer.mint())
    assert Limits.of(again).memory_mb == 200
    assert Limits.of(APIKey.objects.get()).memory_mb == 200


def test_tenants_follow_their_issuers_name(
    admin_client: Client, issuer: Issuer, signer: Signer
) -> None:
    for tenant in ("acme", "t" * 128):
        Issuer.authenticate(signer.mint(tenant_id=tenant))
    admin_client.post(page(issuer), form(signer, name="Our chat"))
    names = sorted(APIKey.objects.values_list("name", flat=True))
    assert names == ["Our chat: tenant acme", f"Our chat: tenant {'t' * 128}"[:100]]


def test_turned_off_in_the_admin_it_opens_nothing(
    admin_client: Client, issuer: Issuer, signer: Signer
) -> None:
    key, _ = Issuer.authenticate(signer.mint())
    admin_client.post(page(issuer), form(signer, enabled=""))
    key = APIKey.objects.select_related("issuer").get(pk=key.pk)
    assert key.state == "off"
    assert not key.is_usable
    assert "off" in admin_client.get(LIST).content.decode()


def test_the_list_of_keys_tells_what_is_what(
    admin_client: Client, issuer: Issuer, signer: Signer
) -> None:
    APIKey.issue(name="The key")
    APIKey.objects.for_trusted_networks()
    Issuer.authenticate(signer.mint())
    names = {"key": "The key", "tenant": "Chat: tenant legacy", "network": "Trusted networks"}
    for kind, name in names.items():
        text = admin_client.get(KEYS, {"kind": kind}).content.decode()
        shown = [other for other in names.values() if f">{other}</a>" in text]
        assert shown == [name]
    Issuer.objects.update(enabled=False)
    assert ">The key</a>" not in admin_client.get(KEYS, {"state": "off"}).content.decode()
    assert ">Chat: tenant legacy</a>" in admin_client.get(KEYS, {"state": "off"}).content.decode()
    usable = admin_client.get(KEYS, {"state": "usable"}).content.decode()
    assert ">Chat: tenant legacy</a>" not in usable
    assert ">The key</a>" in usable


def test_a_tenants_page_leads_to_its_issuer_and_is_settled(
    admin_client: Client, issuer: Issuer, signer: Signer
) -> None:
    key, _ = Issuer.authenticate(signer.mint())
    address = reverse("admin:keys_apikey_change", args=(key.pk,))
    text = admin_client.get(address).content.decode()
    assert f'href="{page(issuer)}"' in text
    assert "legacy" in text
    assert admin_client.post(address, {"name": "Other"}).status_code == 403
    for what in ("revoke", "rotate"):
        there = reverse(f"admin:keys_apikey_{what}", args=(key.pk,))
        assert admin_client.post(there, {"confirmed": "yes"}).status_code == 403


def test_only_an_issuer_that_let_nobody_in_is_deleted(
    admin_client: Client, issuer: Issuer, signer: Signer
) -> None:
    unused = Issuer.objects.create(name="Unused", public_keys=signer.pem)
    Issuer.authenticate(signer.mint())
    chosen = {"action": "delete_selected", "_selected_action": [issuer.pk], "post": "yes"}
    admin_client.post(LIST, chosen)
    assert admin_client.post(page(issuer, "delete"), {"post": "yes"}).status_code == 403
    assert admin_client.post(page(unused, "delete"), {"post": "yes"}).status_code == 302
    assert list(Issuer.objects.all()) == [issuer]


def test_who_may_only_view_changes_nothing(client: Client, issuer: Issuer, signer: Signer) -> None:
    auditor = User.objects.create_user("auditor", is_staff=True)
    auditor.user_permissions.add(Permission.objects.get(codename="view_issuer"))
    client.force_login(auditor)
    assert client.get(page(issuer)).status_code == 200
    assert client.get(ADD).status_code == 403
    assert client.post(page(issuer), form(signer, enabled="")).status_code == 403
    assert Issuer.objects.get().enabled


def test_the_lists_ask_the_same_number_of_questions_for_many(
    admin_client: Client,
    issuer: Issuer,
    signer: Signer,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(10):
        Issuer.objects.create(name=f"Issuer {number}", public_keys=signer.pem)
        issuer.tenants.for_tenant(issuer, f"tenant {number}")
    with django_assert_max_num_queries(7):
        assert admin_client.get(LIST).status_code == 200
    with django_assert_max_num_queries(7):
        assert admin_client.get(KEYS).status_code == 200
