"""LibreChat's signed tokens at the door."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import time_machine
from pytest_django import DjangoAssertNumQueries, Settings

from keys.models import APIKey, Failure, Issuer
from tests.tokens import ALICE, BOB, KID, Signer, claims, jwks
from tests.unit.keys.test_authentication import WRONG, ask, basic

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.unit.keys.urls")]


def present(token: str, **headers: str) -> Answer:
    return ask(Authorization=f"Bearer {token}", **headers)


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def test_a_token_lets_its_user_in(issuer: Issuer, signer: Signer) -> None:
    answer = present(signer.mint())
    assert answer.status_code == 200
    assert answer.json() == {"key": "Chat: tenant legacy", "user": ALICE, "is_staff": False}


def test_rsa_works_as_well(rsa_signer: Signer) -> None:
    Issuer.objects.create(name="Chat", public_keys=rsa_signer.pem)
    assert present(rsa_signer.mint()).json()["user"] == ALICE


def test_a_jwks_with_both_algorithms_works(signer: Signer, rsa_signer: Signer) -> None:
    other = Signer(rsa_signer.private, "rsa-1")
    Issuer.objects.create(name="Chat", public_keys=jwks(signer, other))
    for one in (signer, other):
        assert present(one.mint()).status_code == 200


VARIANTS: dict[str, dict[str, Any]] = {
    "an administrator": {"role": "ADMIN"},
    "a role of its own": {"role": "researcher"},
    "by OpenID": {"principal_source": "openid_reuse"},
    "all that is optional": {
        "org_id": "o",
        "service_id": "s",
        "chc_user_id": "c",
        "plan_id": "p",
        "code_worker_id": "w",
    },
    "a tenant": {"tenant_id": "acme"},
    "several audiences": {"aud": ["other", "codeapi"]},
    "no jti": {"jti": None},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_what_librechat_may_put_into_it_is_accepted(
    issuer: Issuer, signer: Signer, changes: dict[str, Any]
) -> None:
    assert present(signer.mint(**changes)).status_code == 200


def test_a_token_may_be_used_again(issuer: Issuer, signer: Signer) -> None:
    token = signer.mint(jti="the same")
    assert [present(token).status_code for _ in range(3)] == [200] * 3
    assert present(signer.mint(jti="the same")).status_code == 200


def test_clocks_may_differ_a_little(issuer: Issuer, signer: Signer) -> None:
    token = signer.mint()
    now = time.time()
    for seconds, status in ((-29, 200), (-32, 401), (328, 200), (331, 401)):
        with time_machine.travel(now + seconds, tick=False):
            assert present(token).status_code == status, seconds


def test_the_rules_are_settings(settings: Settings, issuer: Issuer, signer: Signer) -> None:
    now = int(time.time())
    old = signer.mint(iat=now - 100, nbf=now - 100, exp=now - 50)
    long = signer.mint(exp=now + 600)
    assert present(old).status_code == present(long).status_code == 401
    settings.CODEAPI_JWT_CLOCK_SKEW_SECONDS = 60
    settings.CODEAPI_JWT_MAX_TTL_SECONDS = 900
    assert present(old).status_code == present(long).status_code == 200
    settings.CODEAPI_JWT_ALLOWED_ALGS = ["RS256"]
    assert present(signer.mint()).status_code == 401


NOW = int(time.time())
WRONG_CLAIMS: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "somebody"},
    "another audience": {"aud": "other"},
    "another audience among several": {"aud": ["other", "another"]},
    "an empty audience": {"aud": []},
    "expired": {"iat": NOW - 400, "nbf": NOW - 400, "exp": NOW - 100},
    "not yet valid": {"nbf": NOW + 5000, "exp": NOW + 5200, "iat": NOW + 4990},
    "nbf alone in the future": {"nbf": NOW + 4000},
    "iat in the future": {"iat": NOW + 5000, "exp": NOW + 5100},
    "over-long": {"exp": NOW + 86_400},
    "ends before it begins": {"exp": NOW - 1, "iat": NOW + 1},
    "endless": {"exp": 10**30},
    "infinite": {"exp": float("inf")},
    "no number": {"exp": float("nan")},
    "a text for a time": {"exp": str(NOW + 100)},
    "true for a time": {"iat": True},
    "an object for a time": {"nbf": {"at": NOW}},
    "a number for a user": {"sub": 7},
    "an empty user": {"sub": ""},
    "a user too long": {"sub": "u" * 129},
    "a NUL in the user": {"sub": "u\0"},
    "half a character in the user": {"sub": "u\ud800"},
    "a list for an issuer": {"iss_": ["librechat"]},
    "an empty tenant": {"tenant_id": ""},
    "a NUL in the tenant": {"tenant_id": "legacy\0"},
    "a tenant too long": {"tenant_id": "t" * 129},
    "a number for a tenant": {"tenant_id": 1},
    **{
        f"no {name}": {name: None}
        for name in ("iss", "aud", "sub", "tenant_id", "iat", "nbf", "exp")
    },
}


@pytest.mark.parametrize("changes", WRONG_CLAIMS.values(), ids=WRONG_CLAIMS.keys())
def test_a_well_signed_token_that_is_not_for_us_is_refused(
    issuer: Issuer, signer: Signer, changes: dict[str, Any]
) -> None:
    body = claims(**{name: value for name, value in changes.items() if name != "iss_"})
    if "iss_" in changes:
        body["iss"] = changes["iss_"]
    token = jwt.api_jws.encode(
        json.dumps(body).encode(), signer.private, "EdDSA", headers={"kid": KID}
    )
    answer = present(token)
    assert answer.status_code == 401
    assert answer.json()["error"] == "Invalid bearer token"
    assert not APIKey.objects.exists()


def hmac_signed(secret: bytes, algorithm: str = "HS256") -> str:
    """By hand: the library refuses to make one with a public key."""
    head = part({"alg": algorithm, "kid": KID, "typ": "JWT"}) + "." + part(claims())
    return f"{head}.{part(hmac.digest(secret, head.encode(), hashlib.sha256))}"


def forgeries(signer: Signer, rsa: Signer) -> dict[str, str]:
    token = signer.mint()
    header, body, signature = token.split(".")
    none = part({"alg": "none", "kid": KID, "typ": "JWT"})
    other = Signer()
    return {
        "alg none": f"{none}.{body}.",
        "alg None": f"{part({'alg': 'None', 'kid': KID})}.{body}.",
        "alg none with a signature": f"{none}.{body}.{signature}",
        "no alg": f"{part({'kid': KID})}.{body}.{signature}",
        "a list for an alg": f"{part({'alg': ['EdDSA'], 'kid': KID})}.{body}.{signature}",
        "no signature": f"{header}.{body}.",
        "HS256 with the public key": hmac_signed(signer.pem.encode()),
        "HS256 with the stripped public key": hmac_signed(signer.pem.strip().encode()),
        "HS256 with nothing": hmac_signed(b""),
        "HS384 by name": hmac_signed(signer.pem.encode(), "HS384"),
        "another key": other.mint(),
        "another key of another kind": Signer(rsa.private).mint(),
        "an unknown kid": Signer(signer.private, "other").mint(),
        "no kid": jwt.encode(claims(), signer.private, "EdDSA"),
        "an empty kid": signer.mint(header={"kid": ""}),
        "a path for a kid": Signer(other.private, "../../dev/null").mint(),
        "a NUL in the kid": Signer(other.private, "a\0").mint(),
        "another body": f"{header}.{part(claims(BOB))}.{signature}",
        "a cut signature": token[:-4],
        "its own key in the header": other.mint(header={"jwk": other.jwk}),
        "an address of keys": other.mint(header={"jku": "http://127.0.0.1/keys"}),
        "an unknown critical extension": signer.mint(header={"crit": ["exp2"], "exp2": 1}),
        "no object": f"{header}.{part([1])}.{signature}",
        "no JSON": f"{header}.{part(b'no')}.{signature}",
        "a header that is no JSON": f"{part(b'no')}.{body}.{signature}",
        "a header that is no object": f"{part([1])}.{body}.{signature}",
        "deep": f"{header}.{part(b'[' * 5000)}.{signature}",
        "a deep header": f"{part(b'[' * 5000)}.{body}.{signature}",
        "no UTF-8": f"{header}.{part(bytes([255, 254]))}.{signature}",
        "a header without UTF-8": f"{part(bytes([255, 254]))}.{body}.{signature}",
        "half a character in the kid": (
            f"{part(json.dumps({'alg': 'EdDSA', 'kid': chr(0xD800)}).encode())}.{body}.{signature}"
        ),
        "letters": "a.b.c",
    }


FORGERIES = tuple(forgeries(Signer(), Signer.rsa()))


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_refused(
    issuer: Issuer, signer: Signer, rsa_signer: Signer, name: str
) -> None:
    answer = present(forgeries(signer, rsa_signer)[name])
    assert answer.status_code == 401
    assert answer.json()["error"] == "Invalid bearer token"
    assert not APIKey.objects.exists()


@pytest.mark.parametrize("with_key", ["pem", "modulus"])
def test_an_rsa_key_is_no_shared_secret(rsa_signer: Signer, with_key: str) -> None:
    Issuer.objects.create(name="Chat", public_keys=rsa_signer.pem)
    secret = rsa_signer.pem.encode() if with_key == "pem" else rsa_signer.jwk["n"].encode()
    assert present(hmac_signed(secret)).status_code == 401
    assert present(rsa_signer.mint()).status_code == 200


def test_rsa_with_another_padding_is_refused(rsa_signer: Signer) -> None:
    Issuer.objects.create(name="Chat", public_keys=rsa_signer.pem)
    for algorithm in ("PS256", "RS512"):
        token = jwt.encode(claims(), rsa_signer.private, algorithm, headers={"kid": KID})
        assert present(token).status_code == 401


def test_the_answer_says_one_thing_and_the_log_the_reason(
    issuer: Issuer, signer: Signer, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = {
        "no key is named 'other'": Signer(kid="other").mint(),
        "no issuer is 'somebody'": signer.mint(iss="somebody"),
        "Audience doesn't match": signer.mint(aud="x"),
        "has no tenant_id": signer.mint(tenant_id=None),
        "CODEAPI_JWT_MAX_TTL_SECONDS is 300": signer.mint(exp=NOW + 90_000),
    }
    bodies = set()
    for reason, token in tokens.items():
        caplog.clear()
        with caplog.at_level(logging.WARNING, "keys"):
            bodies.add(present(token).content)
        assert reason in caplog.text
        assert token not in caplog.text
    (body,) = bodies
    assert "0.8.6 and later" in json.loads(body)["message"]
    assert "CODEAPI_JWT_ENABLED" in json.loads(body)["message"]


def test_a_log_line_is_one_line(
    issuer: Issuer, signer: Signer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "keys"):
        present(signer.mint(iss="a\nb"))
        present(signer.mint(header={"kid": "a\nb"}))
    assert [record for record in caplog.records if "\n" in record.getMessage()] == []


def test_a_tenant_has_one_row_without_a_secret(issuer: Issuer, signer: Signer) -> None:
    for user in (ALICE, BOB):
        present(signer.mint(user))
    present(signer.mint(tenant_id="acme"))
    rows = {key.tenant_id: key for key in APIKey.objects.all()}
    assert rows.keys() == {"legacy", "acme"}
    assert all(key.kind == "tenant" and not key.has_secret for key in rows.values())
    assert rows["acme"].last_used_at is not None
    assert APIKey.authenticate(f"lci_{rows['acme'].prefix}_{'a' * 34}") is None
    assert not APIKey.objects.with_secret().exists()


def test_two_issuers_of_one_name_are_told_apart_by_their_keys(
    issuer: Issuer, signer: Signer
) -> None:
    """Both LibreChats were left with their defaults."""
    other = Signer()
    Issuer.objects.create(name="Other chat", public_keys=other.pem)
    for _ in range(2):
        assert present(signer.mint()).json()["key"] == "Chat: tenant legacy"
        assert present(other.mint()).json()["key"] == "Other chat: tenant legacy"
    assert APIKey.objects.count() == 2


def test_an_issuer_signs_for_itself_only(issuer: Issuer, signer: Signer) -> None:
    Issuer.objects.create(name="Other", iss="other", public_keys=Signer(kid="k").pem)
    assert present(signer.mint(iss="other")).status_code == 401


def test_keys_change_by_their_kid(issuer: Issuer, signer: Signer) -> None:
    new = Signer(kid="lc-2")
    assert present(new.mint()).status_code == 401
    issuer.public_keys = f"{signer.pem}\nkid: lc-2\n{new.pem}"
    issuer.save()
    assert present(signer.mint()).status_code == present(new.mint()).status_code == 200
    issuer.public_keys = f"kid: lc-2\n{new.pem}"
    issuer.save()
    assert present(signer.mint()).status_code == 401
    assert present(new.mint()).json()["key"] == "Chat: tenant legacy"
    assert APIKey.objects.count() == 1


def test_keys_change_under_one_kid_too(issuer: Issuer, signer: Signer) -> None:
    new = Signer()
    issuer.public_keys = signer.pem + new.pem
    issuer.save()
    assert present(signer.mint()).status_code == present(new.mint()).status_code == 200


def test_an_issuer_is_turned_off_from_one_request_to_the_next(
    issuer: Issuer, signer: Signer
) -> None:
    token = signer.mint()
    assert present(token).status_code == 200
    Issuer.objects.update(enabled=False)
    assert present(token).status_code == 401
    assert not APIKey.objects.usable().exists()
    Issuer.objects.update(enabled=True)
    assert present(token).status_code == 200


def test_a_token_costs_one_query_as_a_key_does(
    issuer: Issuer, signer: Signer, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    present(signer.mint())
    with django_assert_num_queries(1):
        assert present(signer.mint(BOB)).status_code == 200


def test_a_wrong_token_counts_as_a_wrong_key_does(
    settings: Settings, issuer: Issuer, signer: Signer
) -> None:
    settings.KEYS_WRONG_LIMIT = 3
    forged = Signer().mint()
    statuses = [present(forged).status_code for _ in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    # From wherever: the kid says what is being guessed.
    assert ask("198.51.100.7", Authorization=f"Bearer {forged}").status_code == 429
    other = Signer(kid="other").mint()
    assert ask("198.51.100.8", Authorization=f"Bearer {other}").status_code == 401
    rows = list(Failure.objects.values())
    assert present(signer.mint()).status_code == 200
    assert list(Failure.objects.values()) == rows


@pytest.mark.parametrize(
    ("key", "token", "who"),
    [
        ("right", "wrong", "Alice"),
        ("wrong", "right", "Chat: tenant legacy"),
        # Both: the one that proves a user too.
        ("right", "right", "Chat: tenant legacy"),
        ("wrong", "wrong", None),
    ],
)
def test_of_a_key_and_a_token_the_valid_one_wins(
    issuer: Issuer, signer: Signer, key: str, token: str, who: str | None
) -> None:
    _, secret = APIKey.issue(name="Alice")
    answer = present(
        signer.mint() if token == "right" else Signer().mint(),
        X_API_Key=secret if key == "right" else WRONG,
    )
    assert answer.json().get("key") == who
    assert answer.status_code == (200 if who else 401)


def test_a_token_wins_over_the_key_of_the_url(issuer: Issuer, signer: Signer) -> None:
    _, secret = APIKey.issue(name="Alice")
    answer = ask(path=f"/k/{secret}/whoami", Authorization=f"Bearer {signer.mint()}")
    assert answer.json()["user"] == ALICE
    both = f"{basic('any', secret)}, Bearer {signer.mint()}"
    assert ask(Authorization=both).json()["user"] == ALICE


def test_a_wrong_token_is_401_in_a_trusted_network_too(settings: Settings) -> None:
    settings.KEYS_TRUSTED_NETWORKS = ["203.0.113.0/24"]
    assert present(Signer().mint()).status_code == 401


def test_an_issuer_with_broken_keys_lets_nobody_in_and_harms_no_other(
    issuer: Issuer, signer: Signer, caplog: pytest.LogCaptureFixture
) -> None:
    Issuer.objects.create(name="Broken", public_keys="nothing")
    assert present(signer.mint()).status_code == 200
    Issuer.objects.exclude(name="Broken").update(iss="elsewhere")
    assert present(signer.mint()).status_code == 401
    assert "the keys of the issuer Broken" in caplog.text


def test_an_issuer_has_networks(issuer: Issuer, signer: Signer) -> None:
    Issuer.objects.update(networks=["10.1.0.0/16"])
    assert ask("10.1.2.3", Authorization=f"Bearer {signer.mint()}").status_code == 200
    answer = ask("10.2.2.3", Authorization=f"Bearer {signer.mint()}")
    assert answer.status_code == 403
    assert answer.json()["error"] == "Not allowed from this address"
