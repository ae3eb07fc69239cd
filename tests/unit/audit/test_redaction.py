from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from django.core.checks import run_checks
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from audit import redaction
from audit.redaction import CUT, MAX_CUT, MAX_MATCHES, redact

PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7+/x\n"
    "QmFzZTY0==\n-----END RSA PRIVATE KEY-----"
)
# In pieces, so that nobody who searches this repository for secrets is alarmed.
SECRETS = {
    "private key": PEM,
    "AWS key": "AKIA" + "IOSFODNN7EXAMPLE",
    "GitHub token": "ghp_" + "a1B2" * 9,
    "GitLab token": "glpat-" + "a1B2c" * 4,
    "Google key": "AIza" + "a1B2_" * 7,
    "Hugging Face token": "hf_" + "a1B2c" * 7,
    "Slack token": "xoxb-" + "1234567890-abc",
    "Stripe key": "sk_live_" + "a1B2" * 5,
    "model key": "sk-proj-" + "a1B2_" * 6,
    "interpreter key": f"lci_{'a' * 10}_{'b' * 34}",
    "JSON web token": f"eyJ{'hbGciOiJI'}.eyJ{'zdWIiOiIx'}.c2lnbmF0dXJl",
}
# The secret within is what must go; the rest tells the reader what it was.
WITHIN = {
    "password in a URL": ("postgres://app:", "s3cr3t%21pass", "@db:5432/x"),
    "bearer token": ("curl -H 'X-Auth: Bearer ", "abcdefghij0123456789", "'"),
    "authorization": ("Authorization: Basic ", "dXNlcjpwYXNz", "\n"),
    "assigned secret": ('DB_PASSWORD = "', "correct-horse", '"'),
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_replaced_by_its_name(name: str) -> None:
    said = redact(f"key = {SECRETS[name]} # mine\nnext line")
    assert said == f"key = [redacted: {name}] # mine\nnext line"


@pytest.mark.parametrize("name", WITHIN)
def test_what_stands_around_a_secret_stays(name: str) -> None:
    before, secret, after = WITHIN[name]
    assert redact(before + secret + after) == f"{before}[redacted: {name}]{after}"


@pytest.mark.parametrize(
    "text",
    [
        "print('hello')\nfor token in text.split(): count += 1",
        "https://example.com:8080/path?at=user@example.com",
        "password = input('password: ')",
        "task-force-of-twenty-people, risk-adjusted-returns-over-time",
        "a bearer of bad news",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "größer als 1 €, 日本語",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_a_private_key_that_was_cut_goes_as_well() -> None:
    for length in range(len("-----BEGIN RSA PRIVATE KEY-----\n") + 1, len(PEM)):
        said = redact(f"here: {PEM[:length]}", cut=True)
        assert "MII" not in said, length
        assert "QmFz" not in said, length


@pytest.mark.parametrize("name", SECRETS.keys() - {"private key"})
def test_the_beginning_of_a_secret_does_not_survive_a_cut(name: str) -> None:
    secret = SECRETS[name]
    for length in range(4, len(secret) + 1):
        assert redact(f"the key is {secret[:length]}", cut=True) == f"the key is {CUT}"


def test_a_cut_between_words_and_one_in_endless_data_cost_little() -> None:
    assert redact("all of it\n", cut=True) == "all of it\n"
    data = "ab" * 10_000
    assert redact(data, cut=True) == data[:-MAX_CUT] + CUT
    assert redact("\n", cut=True) == "\n"
    assert redact("", cut=True) == ""


def test_a_text_of_secrets_ends_before_it_costs_too_much() -> None:
    said = redact((SECRETS["AWS key"] + "\n") * (MAX_MATCHES + 50) + "the end")
    assert said.count("[redacted: AWS key]") == MAX_MATCHES
    assert "AKIA" not in said
    assert said.endswith("[redacted: the rest, which has too many secrets]\n")


def test_an_expression_that_python_would_not_survive_is_quick(settings: Settings) -> None:
    """It would take Python's own engine longer than the universe has: it must end at all."""
    settings.AUDIT_REDACT_PATTERNS = json.dumps({"evil": "(x+x+)+y"})
    assert redact("x" * 100_000) == "x" * 100_000


def test_an_expression_for_places_instead_of_text_takes_nothing_out(settings: Settings) -> None:
    settings.AUDIT_REDACT_PATTERNS = json.dumps({"edges": r"\b"})
    assert redact("some words") == "some words"


def test_what_cannot_be_encoded_is_no_way_around() -> None:
    assert redact("\ud800 " + SECRETS["AWS key"]) == "? [redacted: AWS key]"


class TestSettings:
    def test_the_built_in_ones_can_be_switched_off(self, settings: Settings) -> None:
        settings.AUDIT_REDACT = False
        text = SECRETS["AWS key"]
        assert redact(text, cut=True) == text
        settings.AUDIT_REDACT_PATTERNS = json.dumps({"customer": "C-[0-9]{4}"})
        assert redact(f"{text} C-1234") == f"{text} [redacted: customer]"

    def test_own_ones_come_on_top(self, settings: Settings) -> None:
        settings.AUDIT_REDACT_PATTERNS = json.dumps({"customer": "customer ([0-9]{4})"})
        said = redact(f"customer 1234 has {SECRETS['AWS key']}")
        assert said == "customer [redacted: customer] has [redacted: AWS key]"

    @pytest.mark.parametrize(
        ("own", "reason"),
        [
            ("{", "it is not JSON"),
            ("[1]", "it is not an object of names and expressions"),
            ('{"a": 1}', "it is not an object of names and expressions"),
            ('{"a\\nb": "x"}', "it is not an object of names and expressions"),
            ('{"open": "(x"}', "RE2 cannot use 'open'"),
            ('{"behind": "(?<=a)b"}', "RE2 cannot use 'behind'"),
            ('{"all": "x*"}', "'all' matches where there is nothing"),
        ],
    )
    def test_what_cannot_work_is_refused_at_start(
        self, settings: Settings, own: str, reason: str
    ) -> None:
        settings.AUDIT_REDACT_PATTERNS = own
        [found] = [error for error in run_checks() if error.id == "audit.E001"]
        assert reason in found.msg
        assert found.hint

    def test_the_settings_as_they_come_are_fine(self) -> None:
        assert [error for error in run_checks() if str(error.id).startswith("audit")] == []


def secrets() -> st.SearchStrategy[str]:
    """Of every built-in kind, made by its own expression: Python's engine knows all they use."""
    kinds = [
        st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True)
        for name, pattern in redaction.BUILT_IN.items()
        # Of the others a part is the secret, or Python knows no such expression.
        if name in SECRETS and name != "private key"
    ]
    return st.one_of(kinds)


@pytest.fixture(autouse=True)
def fresh_patterns() -> Iterator[None]:
    redaction._compiled.cache_clear()
    yield
    redaction._compiled.cache_clear()


@given(before=st.text(), secret=secrets(), after=st.text())
def test_no_secret_gets_through_whatever_stands_around(
    before: str, secret: str, after: str
) -> None:
    assert secret not in redact(f"{before}\n{secret}\n{after}")


@given(text=st.text(), cut=st.booleans())
def test_what_comes_out_can_be_stored_and_redacted_again(text: str, cut: bool) -> None:
    said = redact(text.replace("\0", ""), cut=cut)
    said.encode()
    assert "\0" not in said
    assert redact(said) == said
