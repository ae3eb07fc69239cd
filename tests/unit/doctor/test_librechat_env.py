"""A LibreChat's `.env` beside this server: what is right, and everything that can be wrong."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from django.utils import timezone
from pytest_django import Settings

from keys.models import APIKey, Issuer
from sandbox.doctor import librechat
from sandbox.findings import Finding, Level
from sandbox.librechat.lines import Pair, lines
from sandbox.librechat.releases import Release

pytestmark = pytest.mark.django_db

URL = "LIBRECHAT_CODE_BASEURL=http://interpreter:8000/run/exec\n"


@pytest.fixture
def env(tmp_path: Path) -> Path:
    return tmp_path / "librechat.env"


@pytest.fixture
def secret() -> str:
    return APIKey.issue(name="LibreChat")[1]


def check(env: Path, text: str, version: str = "", *, database: bool = True) -> list[Finding]:
    env.write_text(text)
    return list(librechat.check(env, version, database))


def level(found: list[Finding], name: str) -> Level:
    [finding] = [finding for finding in found if finding.check == f"librechat.{name}"]
    assert finding.advice or finding.level in (Level.OK, Level.SKIP)
    return finding.level


def failures(found: list[Finding]) -> dict[str, str]:
    return {finding.check: finding.text for finding in found if finding.level == Level.FAIL}


@pytest.mark.parametrize("version", ["0.7.5", "0.8.5", "0.8.6", "0.8.8-rc1", "newest"])
def test_what_the_command_prints_is_right(env: Path, secret: str, version: str) -> None:
    text = "\n".join(lines(Release.of(version), "http://interpreter:8000", secret))
    found = check(env, text, version)
    assert not failures(found), found
    assert any(finding.text.endswith("is valid") for finding in found)


@pytest.mark.parametrize("version", ["0.8.6", "newest"])
def test_what_the_command_prints_for_signed_calls_is_right(env: Path, version: str) -> None:
    pair = Pair.new()
    Issuer.objects.create(name="LibreChat", public_keys=pair.public_pem)
    text = "\n".join(lines(Release.of(version), "http://interpreter:8000", pair=pair))
    found = check(env, text, version)
    assert {finding.level for finding in found} == {Level.OK}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "interpreter:8000",
        "http://interpreter:8000/api",
        "http://interpreter:8000/v1/exec",
        "http://lci_only_a_user@interpreter:8000",
        "http://interpreter:8000/?key=1",
    ],
)
def test_an_address_where_nothing_answers(env: Path, secret: str, url: str) -> None:
    text = f"LIBRECHAT_CODE_BASEURL={url}\nLIBRECHAT_CODE_API_KEY={secret}\n"
    assert "librechat.url" in failures(check(env, text))


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/run/exec", "/k/KEY", "/k/KEY/v1"])
def test_an_address_that_works(env: Path, secret: str, path: str) -> None:
    path = path.replace("KEY", secret)
    text = (
        f"LIBRECHAT_CODE_BASEURL=http://interpreter:8000{path}\nLIBRECHAT_CODE_API_KEY={secret}\n"
    )
    found = check(env, text)
    assert not failures(found)
    # What is printed is copied into reports.
    assert secret not in repr(found)


def test_its_own_machine_is_seldom_this_one(env: Path, secret: str) -> None:
    text = "LIBRECHAT_CODE_BASEURL=http://localhost:8000\nLIBRECHAT_CODE_API_KEY=" + secret
    assert level(check(env, text), "url") == Level.WARN


def test_a_proxy_is_warned_of_unless_it_leaves_this_host_out(env: Path) -> None:
    assert level(check(env, URL + "PROXY=http://p:3128\n"), "proxy") == Level.WARN
    found = check(env, URL + "PROXY=http://p:3128\nNO_PROXY=interpreter\n")
    assert not [finding for finding in found if finding.check == "librechat.proxy"]


def test_from_0_8_6_on_the_key_has_no_effect(env: Path, secret: str) -> None:
    text = URL + f"LIBRECHAT_CODE_API_KEY={secret}\n"
    assert "sends no key" in failures(check(env, text, "0.8.6"))["librechat.0.8.6"]
    assert not failures(check(env, text, "0.8.5"))
    # Not known which one it is: it may well be right.
    assert level(check(env, text), "≥0.8.6") == Level.WARN


def test_up_to_0_8_5_there_must_be_some_key(env: Path, secret: str) -> None:
    text = f"LIBRECHAT_CODE_BASEURL=http://any:{secret}@interpreter:8000\n"
    assert "is empty" in failures(check(env, text, "0.8.5"))["librechat.0.8.5"]
    assert not failures(check(env, text + "LIBRECHAT_CODE_API_KEY=any\n", "0.8.5"))


def test_networks_that_need_no_key_are_a_way_in(env: Path, settings: Settings) -> None:
    settings.KEYS_TRUSTED_NETWORKS = ["172.18.0.0/16"]
    assert not failures(check(env, URL, "0.8.6"))


def test_a_key_that_is_not_or_no_longer_good(env: Path, secret: str) -> None:
    def text_of_key() -> str:
        return failures(check(env, URL + f"LIBRECHAT_CODE_API_KEY={secret}\n", "0.8.5")).get(
            "librechat.key", ""
        )

    assert text_of_key() == ""
    APIKey.objects.update(scopes=["exec"])
    assert "files" in text_of_key()
    APIKey.objects.update(expires_at=timezone.now() - timedelta(days=1))
    assert text_of_key().endswith("expired")
    APIKey.objects.update(expires_at=None, revoked_at=timezone.now())
    assert text_of_key().endswith("revoked")
    APIKey.objects.update(revoked_at=None, digest="0" * 64)
    assert "rotated" in text_of_key()
    APIKey.objects.all().delete()
    assert "none of this server's keys" in text_of_key()


def test_a_former_secret_is_warned_of(env: Path, secret: str) -> None:
    APIKey.objects.get().rotate(timedelta(hours=1))
    found = check(env, URL + f"LIBRECHAT_CODE_API_KEY={secret}\n", "0.8.5")
    assert level(found, "key") == Level.WARN


def test_a_private_key_that_does_not_fit_the_public_one(env: Path) -> None:
    Issuer.objects.create(name="LibreChat", public_keys=Pair.new().public_pem)
    text = "\n".join(lines(Release.of("0.8.6"), "http://interpreter:8000", pair=Pair.new()))
    found = failures(check(env, text, "0.8.6"))
    assert "Signature verification failed" in found["librechat.signing"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("CODEAPI_JWT_KID=another", "no key is named"),
        ("CODEAPI_JWT_ISSUER=another", "no issuer here is named"),
        ("CODEAPI_JWT_AUDIENCE=another", "Audience"),
        ("CODEAPI_JWT_ALGORITHM=RS256", "not one for RS256"),
        ("CODEAPI_JWT_PRIVATE_KEY=nonsense", "no PEM"),
        ("CODEAPI_JWT_PRIVATE_KEY=", "none of"),
    ],
)
def test_settings_of_signed_calls_that_differ(env: Path, line: str, reason: str) -> None:
    pair = Pair.new()
    Issuer.objects.create(name="LibreChat", public_keys=pair.public_pem)
    text = "\n".join(lines(Release.of("0.8.6"), "http://interpreter:8000", pair=pair))
    found = failures(check(env, f"{text}\n{line}\n", "0.8.6"))
    assert reason in found["librechat.signing"]
    assert "PRIVATE KEY-----" not in repr(found)


def test_an_issuer_that_is_off(env: Path) -> None:
    pair = Pair.new()
    Issuer.objects.create(name="LibreChat", public_keys=pair.public_pem, enabled=False)
    text = "\n".join(lines(Release.of("0.8.6"), "http://interpreter:8000", pair=pair))
    assert "turned off" in failures(check(env, text))["librechat.signing"]


def test_a_private_key_without_signing_is_warned_of(env: Path) -> None:
    text = URL + "CODEAPI_JWT_PRIVATE_KEY=x\n"
    assert level(check(env, text), "signing") == Level.WARN


def test_other_forms_of_a_private_key_and_the_issuer_of_the_environment(
    env: Path, settings: Settings
) -> None:
    private = generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    settings.CODEAPI_JWT_PUBLIC_KEY = public.decode()
    text = URL + (
        "CODEAPI_AUTH_PROVIDER=librechat-jwt\nCODEAPI_JWT_ALGORITHM=RS256\n"
        f"CODEAPI_JWT_PRIVATE_KEY_BASE64={base64.b64encode(pem).decode()}\n"
    )
    assert not failures(check(env, text, "0.8.6"))


def test_without_the_database_it_says_what_it_could_not_look_at(env: Path, secret: str) -> None:
    found = check(env, URL + f"LIBRECHAT_CODE_API_KEY={secret}\n", "0.8.5", database=False)
    assert level(found, "key") == Level.SKIP
    assert not failures(found)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert failures(list(librechat.check(tmp_path / "none", "", True)))
