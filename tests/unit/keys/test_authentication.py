from __future__ import annotations

import base64
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from keys.models import APIKey, Failure

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.unit.keys.urls")]

WRONG = "lci_" + "x" * 10 + "_" + "y" * 34


@pytest.fixture
def secret() -> str:
    return APIKey.issue(name="Alice")[1]


def ask(address: str = "203.0.113.9", path: str = "/whoami", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Client().get(path, headers=named, REMOTE_ADDR=address)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_x_api_key_lets_in(secret: str) -> None:
    response = ask(X_API_Key=secret)
    assert response.status_code == 200
    assert response.json() == {"key": "Alice", "user": "", "is_staff": False}


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": "{secret}"},
        {"x-api-key": " {secret} "},
        {"api-key": "{secret}"},
        {"Authorization": "Bearer {secret}"},
        {"Authorization": "bearer   {secret}"},
        {"X-API-Key": "{secret}", "Authorization": "Bearer {secret}"},
        {"X-API-Key": "{secret},{secret}"},
        {"X-API-Key": "{secret}", "Authorization": "Bearer " + WRONG},
        {"X-API-Key": WRONG, "Authorization": "Bearer {secret}"},
        {"X-API-Key": "not one of ours", "Authorization": "Bearer a.b.c, Bearer {secret}"},
        {"X-API-Key": WRONG + ", {secret}"},
        {"X-API-Key": "", "api-key": "{secret}"},
    ],
)
def test_a_valid_key_wins_wherever_it_stands(secret: str, headers: dict[str, str]) -> None:
    filled = {name: value.replace("{secret}", secret) for name, value in headers.items()}
    assert Client().get("/whoami", headers=filled).status_code == 200


def test_the_password_of_a_base_url_is_a_key(secret: str) -> None:
    assert ask(Authorization=basic("any", secret)).status_code == 200
    assert ask(Authorization=basic("", secret)).status_code == 200


def test_so_is_its_user_without_a_password(secret: str) -> None:
    assert ask(Authorization=basic(secret, "")).status_code == 200
    no_colon = "Basic " + base64.b64encode(secret.encode()).decode()
    assert ask(Authorization=no_colon).status_code == 200


@pytest.mark.parametrize("base", ["/k/{}", "/k/{}/v1", "/k/{}/run/exec", "/v1/k/{}/"])
def test_the_path_of_a_base_url_is_a_key(secret: str, base: str) -> None:
    assert ask(path=base.format(secret) + "/whoami").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "   "},
        {"X-API-Key": ","},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Negotiate abc"},
        {"Authorization": "Basic Og=="},
    ],
)
def test_no_key_is_401_and_says_how_to_send_one(headers: dict[str, str]) -> None:
    response = Client().get("/whoami", headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "ApiKey"
    body = response.json()
    assert body["error"] == "API key is missing"
    for way in (
        "X-API-Key",
        "up to 0.8.5",
        "0.8.6 and later",
        "CODEAPI_JWT_ENABLED",
        "Bearer",
        "http://any:<key>@",
        "/k/<key>",
        "KEYS_TRUSTED_NETWORKS",
    ):
        assert way in body["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": WRONG},
        {"X-API-Key": "\x7f\xe9"},
        {"Authorization": "Bearer " + WRONG},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic /w=="},
        {"Authorization": basic("any", WRONG)},
        {"Authorization": basic("any", "hunter2")},
    ],
)
def test_a_wrong_key_is_401(headers: dict[str, str]) -> None:
    response = Client().get("/whoami", headers=headers)
    assert response.status_code == 401
    assert response.json()["error"] == "API key is not valid"


def test_a_wrong_key_in_the_path_is_401() -> None:
    response = ask(path=f"/k/{WRONG}/whoami")
    assert response.status_code == 401
    assert response.json()["error"] == "API key is not valid"


def test_unknown_revoked_and_expired_keys_look_the_same() -> None:
    revoked, revoked_secret = APIKey.issue(name="Revoked")
    revoked.revoke()
    yesterday = timezone.now() - timedelta(days=1)
    _, expired_secret = APIKey.issue(name="Expired", expires_at=yesterday)
    answers = {ask(X_API_Key=text).content for text in (WRONG, revoked_secret, expired_secret)}
    assert len(answers) == 1


def test_a_key_is_revoked_from_one_request_to_the_next(secret: str) -> None:
    assert ask(X_API_Key=secret).status_code == 200
    APIKey.objects.get().revoke()
    assert ask(X_API_Key=secret).status_code == 401


def test_use_is_recorded(secret: str) -> None:
    before = timezone.now()
    ask(X_API_Key=secret)
    last_used_at = APIKey.objects.get().last_used_at
    assert last_used_at is not None
    assert last_used_at >= before


def test_a_refused_key_is_not_recorded_as_used() -> None:
    key, secret = APIKey.issue(name="Alice")
    key.revoke()
    ask(X_API_Key=secret)
    assert APIKey.objects.get().last_used_at is None


def test_the_same_key_twice_is_looked_up_once(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    # And counted once.
    with django_assert_num_queries(2):
        ask(X_API_Key=WRONG, api_key=WRONG, Authorization=basic(WRONG, WRONG))


def test_a_header_full_of_keys_is_not_a_flood_of_queries(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    many = ",".join(f"lci_{number:010}_{'y' * 34}" for number in range(150))
    with django_assert_max_num_queries(9):
        assert ask(X_API_Key=many).status_code == 401


@pytest.mark.parametrize("address", ["172.18.0.5", "::ffff:172.18.0.5", "fd00::7"])
def test_a_trusted_network_needs_no_key(settings: Settings, address: str) -> None:
    settings.KEYS_TRUSTED_NETWORKS = ["172.18.0.0/16", "fd00::/8"]
    response = ask(address=address)
    assert response.status_code == 200
    assert response.json()["key"] == "Trusted networks"


@pytest.mark.parametrize("address", ["172.19.0.5", "::1", "fe80::1%eth0", "", "unix:"])
def test_every_other_network_does(settings: Settings, address: str) -> None:
    settings.KEYS_TRUSTED_NETWORKS = ["172.18.0.0/16", "fd00::/8"]
    assert ask(address=address).status_code == 401


def test_no_network_is_trusted_by_default() -> None:
    assert ask(address="127.0.0.1").status_code == 401
    assert not APIKey.objects.exists()


@pytest.mark.parametrize("text", [WRONG, "hunter2"])
def test_a_wrong_key_is_401_in_a_trusted_network_too(settings: Settings, text: str) -> None:
    settings.KEYS_TRUSTED_NETWORKS = ["172.18.0.0/16"]
    assert ask(address="172.18.0.5", X_API_Key=text).status_code == 401
    assert ask(address="172.18.0.5", Authorization="Basic !!!").status_code == 401


def test_a_key_still_counts_in_a_trusted_network(settings: Settings, secret: str) -> None:
    settings.KEYS_TRUSTED_NETWORKS = ["172.18.0.0/16"]
    assert ask(address="172.18.0.5", X_API_Key=secret).json()["key"] == "Alice"


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
def test_a_proxy_in_a_trusted_network_does_not_let_the_world_in(
    settings: Settings, header: str
) -> None:
    settings.KEYS_TRUSTED_NETWORKS = ["172.18.0.0/16"]
    response = Client().get("/whoami", headers={header: "172.18.0.9"}, REMOTE_ADDR="172.18.0.2")
    assert response.status_code == 401


def test_an_address_in_a_header_is_not_believed(settings: Settings) -> None:
    settings.KEYS_TRUSTED_NETWORKS = ["172.18.0.0/16"]
    response = ask(address="203.0.113.9", X_Forwarded_For="172.18.0.5")
    assert response.status_code == 401


def test_no_secret_reaches_the_log(caplog: pytest.LogCaptureFixture, secret: str) -> None:
    caplog.set_level(logging.DEBUG)
    ask(X_API_Key=secret)
    ask(X_API_Key=WRONG, path=f"/k/{secret}x/whoami", Authorization=basic("any", WRONG))
    ask(path=f"/k/{secret}/nothing-here")
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert "401: no valid API key among those from 203.0.113.9" in logged
    assert secret not in logged
    assert WRONG not in logged


def test_the_log_tells_the_operator_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    ask()
    assert "LibreChat 0.8.6 and later sends none by itself" in caplog.text


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "fd00::7"])
def test_a_key_with_networks_is_let_in_from_there(address: str) -> None:
    _, secret = APIKey.issue(name="Alice", networks=["10.1.0.0/16", "fd00::/8"])
    assert ask(address, X_API_Key=secret).status_code == 200


@pytest.mark.parametrize("address", ["10.2.2.3", "::1", "", "unix:"])
def test_from_elsewhere_it_is_403_and_says_so(address: str) -> None:
    _, secret = APIKey.issue(name="Alice", networks=["10.1.0.0/16", "fd00::/8"])
    response = ask(address, X_API_Key=secret)
    assert response.status_code == 403
    assert response.json()["error"] == "Not allowed from this address"
    assert "allowed networks" in response.json()["message"]
    # It was no guess, and no use.
    assert not Failure.objects.exists()
    assert APIKey.objects.get().last_used_at is None


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
def test_through_a_proxy_nobody_comes_from_an_allowed_network(header: str) -> None:
    _, secret = APIKey.issue(name="Alice", networks=["10.1.0.0/16"])
    headers = {"X-API-Key": secret, header: "10.1.2.3"}
    response = Client().get("/whoami", headers=headers, REMOTE_ADDR="10.1.0.1")
    assert response.status_code == 403
    assert "no proxy" in response.json()["message"]


def test_a_wrong_key_is_401_wherever_it_comes_from() -> None:
    _, secret = APIKey.issue(name="Alice", networks=["10.1.0.0/16"])
    wrong = secret[:-1] + ("a" if secret[-1] != "a" else "b")
    assert ask("10.2.2.3", X_API_Key=wrong).status_code == 401


def test_another_key_may_be_allowed_where_the_first_is_not(secret: str) -> None:
    _, elsewhere = APIKey.issue(name="Bob", networks=["10.1.0.0/16"])
    response = ask(X_API_Key=f"{elsewhere}, {secret}")
    assert response.json()["key"] == "Alice"
