"""The issuer that the official server's variables describe."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from keys.checks import token_keys, token_rules
from keys.models import APIKey, Issuer
from tests.tokens import KID, Signer, jwks
from tests.unit.keys.test_tokens import present

pytestmark = [pytest.mark.django_db]
whoami = pytest.mark.urls("tests.unit.keys.urls")


@pytest.fixture
def directory(settings: Settings, tmp_path: Path) -> Path:
    settings.CODEAPI_JWT_PUBLIC_KEYS_DIR = str(tmp_path)
    return tmp_path


def by_pem(settings: Settings, signer: Signer, path: Path) -> None:
    settings.CODEAPI_JWT_PUBLIC_KEY = signer.pem.replace("\n", "\\n")


def by_jwks(settings: Settings, signer: Signer, path: Path) -> None:
    settings.CODEAPI_JWT_JWKS_JSON = jwks(signer)


def by_directory(settings: Settings, signer: Signer, path: Path) -> None:
    (path / f"{KID}.pem").write_text(signer.pem)
    (path / "..data").write_text("what Kubernetes keeps beside mounted secrets")
    settings.CODEAPI_JWT_PUBLIC_KEYS_DIR = str(path)


@whoami
@pytest.mark.parametrize("configure", [by_pem, by_jwks, by_directory])
def test_the_first_token_makes_the_issuers_row(
    settings: Settings,
    signer: Signer,
    tmp_path: Path,
    configure: Callable[[Settings, Signer, Path], None],
) -> None:
    configure(settings, signer, tmp_path)
    assert token_keys(None) == []
    for _ in range(2):
        assert present(signer.mint()).json()["key"] == "LibreChat: tenant legacy"
    issuer = Issuer.objects.get()
    assert issuer.from_environment
    assert APIKey.objects.get().issuer == issuer


@whoami
def test_a_wrong_token_makes_no_row(settings: Settings, signer: Signer) -> None:
    settings.CODEAPI_JWT_PUBLIC_KEY = signer.pem
    assert present(Signer().mint()).status_code == 401
    assert not Issuer.objects.exists()


@whoami
def test_kid_issuer_and_audience_are_settings(settings: Settings, signer: Signer) -> None:
    settings.CODEAPI_JWT_PUBLIC_KEY = signer.pem
    settings.CODEAPI_JWT_KID = "k1"
    settings.CODEAPI_JWT_ISSUER = "chat"
    settings.CODEAPI_JWT_AUDIENCE = "code"
    named = Signer(signer.private, "k1")
    assert present(named.mint(iss="chat", aud="code")).status_code == 200
    for wrong in (
        named.mint(iss="chat"),
        named.mint(aud="code"),
        named.mint(iss="", aud="code"),
        signer.mint(iss="chat", aud="code"),
    ):
        assert present(wrong).status_code == 401


@whoami
def test_a_key_that_is_put_into_the_directory_counts_at_once(
    directory: Path, signer: Signer
) -> None:
    new = Signer(kid="lc-2")
    (directory / f"{KID}.pem").write_text(signer.pem)
    assert present(new.mint()).status_code == 401
    (directory / "lc-2.json").write_text(jwks(new))
    assert present(new.mint()).status_code == present(signer.mint()).status_code == 200
    (directory / f"{KID}.pem").unlink()
    assert present(signer.mint()).status_code == 401


@whoami
def test_a_key_that_is_replaced_in_the_directory_counts_at_once(
    directory: Path, signer: Signer
) -> None:
    path, new = directory / f"{KID}.pem", Signer()
    path.write_text(signer.pem)
    assert present(signer.mint()).status_code == 200
    fresh = directory / ".fresh"
    fresh.write_text(new.pem)
    # Of the same size and, as far as this shows, from the same moment.
    os.utime(fresh, ns=(path.stat().st_mtime_ns,) * 2)
    fresh.replace(path)
    assert present(new.mint()).status_code == 200
    assert present(signer.mint()).status_code == 401


@whoami
def test_it_is_turned_off_in_the_admin(settings: Settings, signer: Signer, issuer: Issuer) -> None:
    """Beside an issuer of the admin's own, whose tokens are not concerned."""
    ours = Signer()
    settings.CODEAPI_JWT_PUBLIC_KEY = ours.pem
    assert present(ours.mint()).status_code == 200
    Issuer.objects.filter(from_environment=True).update(enabled=False)
    assert present(ours.mint()).status_code == 401
    assert present(signer.mint()).status_code == 200


@whoami
def test_without_the_settings_its_row_opens_nothing(settings: Settings, signer: Signer) -> None:
    settings.CODEAPI_JWT_PUBLIC_KEY = signer.pem
    assert present(signer.mint()).status_code == 200
    settings.CODEAPI_JWT_PUBLIC_KEY = ""
    assert present(signer.mint()).status_code == 401
    assert APIKey.objects.count() == 1


def test_the_admin_shows_it_before_its_first_token(
    admin_client: Client, settings: Settings, signer: Signer
) -> None:
    settings.CODEAPI_JWT_PUBLIC_KEY = signer.pem
    settings.CODEAPI_JWT_ISSUER = "chat.example"
    listing = admin_client.get("/admin/keys/issuer/").content.decode()
    assert "the environment" in listing
    assert "chat.example" in listing
    issuer = Issuer.objects.get()
    page = reverse("admin:keys_issuer_change", args=(issuer.pk,))
    text = admin_client.get(page).content.decode()
    assert "Tokens, from the environment" in text
    assert f"{KID} (EdDSA, SHA-256 " in text
    assert 'name="public_keys"' not in text
    assert 'name="iss"' not in text
    form = {"name": "Chat", "scopes": ["exec"], "enabled": "", "public_keys": Signer().pem}
    assert admin_client.post(page, form).status_code == 302
    issuer.refresh_from_db()
    assert (issuer.name, issuer.enabled, issuer.scopes) == ("Chat", False, ["exec"])
    assert issuer.public_keys == ""
    assert (
        admin_client.post(
            reverse("admin:keys_issuer_delete", args=(issuer.pk,)), {"post": "yes"}
        ).status_code
        == 403
    )


def test_the_admin_shows_what_is_wrong_with_the_settings(
    admin_client: Client, settings: Settings
) -> None:
    settings.CODEAPI_JWT_PUBLIC_KEY = "nonsense"
    admin_client.get("/admin/keys/issuer/")
    page = reverse("admin:keys_issuer_change", args=(Issuer.objects.get().pk,))
    assert "CODEAPI_JWT_PUBLIC_KEY: No public key" in admin_client.get(page).content.decode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CODEAPI_JWT_PUBLIC_KEY", "nonsense"),
        ("CODEAPI_JWT_JWKS_JSON", "{"),
        ("CODEAPI_JWT_PUBLIC_KEYS_DIR", "/nowhere"),
    ],
)
def test_settings_that_cannot_be_read_are_an_error(
    settings: Settings, name: str, value: str
) -> None:
    setattr(settings, name, value)
    (message,) = token_keys(None)
    assert message.id == "keys.E002"
    assert name in message.msg


def test_a_bad_file_and_an_empty_directory_are_errors(directory: Path) -> None:
    (message,) = token_keys(None)
    assert "no key is there" in message.msg
    (directory / "lc.pem").write_bytes(b"\xff")
    (message,) = token_keys(None)
    assert "lc.pem" in message.msg


def test_rules_that_make_no_sense_are_errors(settings: Settings) -> None:
    assert token_rules(None) == []
    settings.CODEAPI_JWT_ALLOWED_ALGS = ["EdDSA", "HS256"]
    settings.CODEAPI_JWT_CLOCK_SKEW_SECONDS = -1
    settings.CODEAPI_JWT_MAX_TTL_SECONDS = 0
    messages = token_rules(None)
    assert [message.id for message in messages] == ["keys.E003", "keys.E004", "keys.E004"]
    assert "'HS256' is not supported" in messages[0].msg
