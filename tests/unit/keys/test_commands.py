from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from keys.models import APIKey, Issuer

pytestmark = pytest.mark.django_db


def manage(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=out, no_color=True)
    return out.getvalue()


def test_a_key_is_created_with_everything_it_may_have() -> None:
    manage(
        "createapikey",
        "LibreChat",
        *("--owner", "Platform team", "--note", "chat.example.org", "--scope", "exec"),
        *("--network", "10.0.0.0/8", "--network", "::1/128"),
    )
    key = APIKey.objects.get()
    assert (key.owner, key.note, key.scopes) == ("Platform team", "chat.example.org", ["exec"])
    assert key.networks == ["10.0.0.0/8", "::1/128"]


def test_a_key_has_every_scope_and_network_by_default() -> None:
    manage("createapikey", "LibreChat")
    assert (APIKey.objects.get().scopes, APIKey.objects.get().networks) == (["exec", "files"], [])


@pytest.mark.parametrize(
    "option", [("--network", "10.0.3.7/24"), ("--scope", "all"), ("--owner", "x" * 151)]
)
def test_it_refuses_what_makes_no_sense(option: tuple[str, str]) -> None:
    with pytest.raises(CommandError, match=option[0]):
        manage("createapikey", "LibreChat", *option)
    assert not APIKey.objects.exists()


@pytest.mark.parametrize("form", ["{prefix}", "lci_{prefix}", "lci_{prefix}…", "LibreChat", "{}"])
def test_a_key_is_revoked_by_its_beginning_or_its_name(form: str) -> None:
    key, secret = APIKey.issue(name="LibreChat")
    APIKey.issue(name="Other")
    text = secret if form == "{}" else form.format(prefix=key.prefix)
    assert f"{key.prefix} (LibreChat) is revoked" in manage("revokeapikey", text)
    assert [one.name for one in APIKey.objects.usable()] == ["Other"]


def test_a_name_that_two_keys_have_names_none() -> None:
    first, _ = APIKey.issue(name="LibreChat")
    second, _ = APIKey.issue(name="LibreChat")
    with pytest.raises(CommandError, match="2 keys are named") as error:
        manage("revokeapikey", "LibreChat")
    assert first.prefix in str(error.value)
    assert APIKey.objects.usable().count() == 2
    # One that is revoked already is not meant.
    manage("revokeapikey", second.prefix)
    manage("revokeapikey", "LibreChat")
    assert not APIKey.objects.usable().exists()


@pytest.mark.parametrize("text", ["", "nobody", "trusted-networks", "jwt-", "Trusted networks"])
def test_what_is_no_key_is_not_revoked(text: str, issuer: Issuer) -> None:
    APIKey.objects.for_trusted_networks()
    issuer.tenants.for_tenant(issuer, "legacy")
    with pytest.raises(CommandError, match="There is no key"):
        manage("revokeapikey", text)
    assert APIKey.objects.usable().count() == 2


def test_the_list_tells_what_is_what(issuer: Issuer) -> None:
    key, secret = APIKey.issue(
        name="LibreChat", owner="Ann", scopes=["exec"], networks=["10.0.0.0/8"]
    )
    APIKey.issue(name="Expired", expires_at=timezone.now())
    APIKey.issue(name="Revoked")[0].revoke()
    APIKey.objects.for_trusted_networks()
    Issuer.objects.update(owner="Bob", scopes=["files"])
    issuer.tenants.for_tenant(issuer, "acme")
    text = manage("listapikeys")
    heading, *lines = text.splitlines()
    assert heading.split()[:4] == ["BEGINS", "KIND", "STATE", "NAME"]
    assert [line.split()[1:3] for line in lines] == [
        ["tenant", "usable"],
        ["network", "usable"],
        ["key", "usable"],
    ]
    assert f"lci_{key.prefix}" in lines[2]
    assert "Ann" in lines[2]
    assert "10.0.0.0/8" in lines[2]
    assert "Chat: tenant acme" in lines[0]
    # What counts for a tenant is its issuer's.
    assert "Bob" in lines[0]
    assert "files" in lines[0]
    assert secret not in text
    assert key.digest not in text
    assert "Expired" not in text
    everything = manage("listapikeys", "--all")
    assert "expired" in everything
    assert "revoked" in everything


def test_an_issuers_being_off_shows_in_the_list(issuer: Issuer) -> None:
    issuer.tenants.for_tenant(issuer, "acme")
    Issuer.objects.update(enabled=False)
    assert "acme" not in manage("listapikeys")
    assert " off " in manage("listapikeys", "--all")
