from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from keys import throttling
from keys.models import APIKey, Failure
from sandbox import keeper
from tests.unit.keys.test_authentication import WRONG, ask, basic

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.unit.keys.urls")]

ELSEWHERE = "198.51.100.7"


@pytest.fixture(autouse=True)
def few(settings: Settings) -> None:
    settings.KEYS_WRONG_LIMIT = 3


@pytest.fixture
def secret() -> str:
    return APIKey.issue(name="Alice")[1]


def wrong_for(secret: str) -> str:
    return secret[:-1] + ("a" if secret[-1] != "a" else "b")


def another_wrong(number: int) -> str:
    return f"lci_{number:010}_{'y' * 34}"


def statuses(*answers: object) -> list[int]:
    return [getattr(answer, "status_code", 0) for answer in answers]


def test_past_the_limit_a_wrong_key_is_429_and_says_when_to_come_back() -> None:
    answers = [ask(X_API_Key=another_wrong(number)) for number in range(5)]
    assert statuses(*answers) == [401, 401, 401, 429, 429]
    body = answers[-1].json()
    assert body.keys() == {"error", "message", "retry_after_seconds"}
    assert body["error"] == "rate_limited"
    assert 0 < body["retry_after_seconds"] <= 60
    assert answers[-1].headers["Retry-After"] == str(body["retry_after_seconds"])
    assert "createapikey" in body["message"]


def test_a_right_key_is_let_in_from_the_same_address_and_for_the_same_prefix(secret: str) -> None:
    for _ in range(6):
        answer = ask(X_API_Key=wrong_for(secret))
    assert answer.status_code == 429
    assert ask(X_API_Key=secret).status_code == 200
    assert ask(ELSEWHERE, X_API_Key=secret).status_code == 200
    # Beside a wrong one as well, as a proxy may add it.
    assert ask(X_API_Key=WRONG, Authorization=f"Bearer {secret}").status_code == 200


def test_a_right_key_costs_no_statement_more(
    secret: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(6):
        ask(X_API_Key=wrong_for(secret))
    for _ in range(2):
        # Its first use is written down, and then the row is read once more.
        ask(X_API_Key=secret)
    rows = list(Failure.objects.values())
    with django_assert_num_queries(1):
        ask(X_API_Key=secret)
    assert list(Failure.objects.values()) == rows


def test_another_address_starts_at_nothing() -> None:
    for number in range(4):
        ask(X_API_Key=another_wrong(number))
    assert ask(ELSEWHERE, X_API_Key=another_wrong(9)).status_code == 401


def test_the_secrets_of_one_prefix_are_counted_from_wherever_they_come(secret: str) -> None:
    answers = [ask(f"198.51.100.{n}", X_API_Key=wrong_for(secret)) for n in range(4)]
    assert statuses(*answers) == [401, 401, 401, 429]


def test_an_unknown_prefix_is_treated_as_a_known_one(secret: str) -> None:
    """Else the answers would tell which keys there are."""

    def seen(text: str, network: str) -> list[tuple[int, list[str]]]:
        found = []
        for host in range(5):
            with CaptureQueriesContext(connection) as queries:
                answer = ask(f"{network}.{host}", X_API_Key=text)
            kinds = [query["sql"].split()[0] for query in queries.captured_queries]
            found.append((answer.status_code, kinds))
        return found

    for _ in range(2):
        ask(X_API_Key=secret)
    assert seen(wrong_for(secret), "198.51.100") == seen(WRONG, "192.0.2")


def test_each_of_several_keys_of_a_request_counts(secret: str) -> None:
    right, prefix = secret, wrong_for(secret)[:15]
    many = ",".join(f"{prefix}{letter * 34}" for letter in "abcd")
    assert ask(X_API_Key=many).status_code == 401
    assert ask(ELSEWHERE, X_API_Key=wrong_for(right)).status_code == 429


@pytest.mark.parametrize("text", ["not one of ours", basic("any", "hunter2")])
def test_what_cannot_be_a_key_counts_for_its_address(text: str) -> None:
    answers = [ask(Authorization=f"Bearer {text}") for _ in range(4)]
    assert statuses(*answers) == [401, 401, 401, 429]


def test_no_key_at_all_is_no_guess() -> None:
    assert statuses(*(ask() for _ in range(6))) == [401] * 6
    assert not Failure.objects.exists()


def test_a_window_ends_however_many_come_in_it(settings: Settings) -> None:
    for _ in range(6):
        answer = ask(X_API_Key=WRONG)
    assert answer.status_code == 429
    Failure.objects.update(expires_at=timezone.now() - timedelta(milliseconds=1))
    assert statuses(*(ask(X_API_Key=WRONG) for _ in range(4))) == [401, 401, 401, 429]


def test_past_the_limit_nothing_is_written() -> None:
    for _ in range(4):
        ask(X_API_Key=WRONG)
    rows = list(Failure.objects.order_by("pk").values())
    for _ in range(3):
        ask(X_API_Key=WRONG)
    assert list(Failure.objects.order_by("pk").values()) == rows


def test_an_ipv6_network_counts_as_one() -> None:
    answers = [ask(f"2001:db8::{n}:1", X_API_Key=another_wrong(n)) for n in range(1, 5)]
    assert statuses(*answers) == [401, 401, 401, 429]
    assert ask("2001:db8:0:1::1", X_API_Key=another_wrong(9)).status_code == 401


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix:", ""),
    ],
)
def test_who_an_address_is(address: str, network: str) -> None:
    assert throttling.network_of(address) == network


def test_an_address_in_a_header_is_not_believed() -> None:
    answers = [ask(X_API_Key=another_wrong(n), X_Forwarded_For=f"192.0.2.{n}") for n in range(4)]
    assert answers[-1].status_code == 429


def test_made_up_prefixes_and_addresses_do_not_make_the_table_grow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(throttling, "BUCKETS", 4)
    for number in range(40):
        throttling.count_wrong_keys(f"198.51.100.{number}", [f"{number:010}"])
    assert 0 < Failure.objects.count() <= 8


def test_neither_addresses_nor_prefixes_are_kept(secret: str) -> None:
    ask(X_API_Key=wrong_for(secret))
    kept = " ".join(Failure.objects.values_list("bucket", flat=True))
    assert "203.0.113.9" not in kept
    assert secret.split("_")[1] not in kept


@pytest.mark.parametrize("tidy", [throttling.prune, keeper.tidy])
def test_what_is_over_is_pruned(tidy: Callable[[], object], fake: object) -> None:
    ask(X_API_Key=WRONG)
    Failure.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    ask(ELSEWHERE, X_API_Key=another_wrong(1))
    kept = set(Failure.objects.filter(expires_at__gt=timezone.now()).values_list("pk", flat=True))
    tidy()
    assert set(Failure.objects.values_list("pk", flat=True)) == kept


@pytest.mark.django_db(transaction=True)
def test_all_processes_count_together() -> None:
    """Each thread has a connection of its own, as another process would."""
    waits: list[float | None] = []

    def guess() -> None:
        for _ in range(10):
            # In different orders: the statement must not lock itself out.
            buckets = ["a", "b", "c"] if len(waits) % 2 else ["c", "b", "a"]
            waits.append(throttling.count(buckets, limit=1000, seconds=60))
        connection.close()

    threads = [threading.Thread(target=guess) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert waits == [None] * 60
    assert set(Failure.objects.values_list("failures", flat=True)) == {60}
