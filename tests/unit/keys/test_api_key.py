from __future__ import annotations

import re
from datetime import timedelta

import pytest
import time_machine
from django.conf import settings
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from keys.models import APIKey, api_key

pytestmark = pytest.mark.django_db


def test_a_secret_is_found_again_by_authenticate() -> None:
    key, secret = APIKey.issue(name="LibreChat")
    assert APIKey.authenticate(secret) == key


def test_a_secret_fits_into_urls_and_headers_unescaped() -> None:
    _, secret = APIKey.issue(name="LibreChat")
    assert re.fullmatch(r"lci_[A-Za-z0-9]{10}_[A-Za-z0-9]{34}", secret)


def test_two_secrets_differ_in_every_part() -> None:
    first, second = (APIKey.issue(name="LibreChat")[1].split("_") for _ in range(2))
    assert first[1] != second[1]
    assert first[2] != second[2]


def test_the_database_knows_no_secret() -> None:
    key, secret = APIKey.issue(name="LibreChat", note="for the tests")
    row = APIKey.objects.filter(pk=key.pk).values().get()
    random_part = secret.rpartition("_")[2]
    assert all(random_part not in str(value) for value in row.values())


def test_a_key_shows_neither_secret_nor_digest() -> None:
    key, secret = APIKey.issue(name="LibreChat")
    assert repr(key) == "<APIKey: LibreChat>"
    assert key.digest not in repr(key)
    assert secret not in repr(key)


def test_a_key_read_again_has_no_secret() -> None:
    key, _ = APIKey.issue(name="LibreChat")
    assert APIKey.objects.get(pk=key.pk).secret == ""


def test_the_right_prefix_alone_opens_nothing() -> None:
    _, secret = APIKey.issue(name="LibreChat")
    other = secret[:-1] + ("a" if secret[-1] != "a" else "b")
    assert APIKey.authenticate(other) is None


def test_another_keys_prefix_does_not_help() -> None:
    _, first = APIKey.issue(name="Alice")
    _, second = APIKey.issue(name="Bob")
    mixed = first.rpartition("_")[0] + "_" + second.rpartition("_")[2]
    assert APIKey.authenticate(mixed) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lci_",
        "lci_trusted-networks_" + "a" * 34,
        "lci_" + "a" * 10 + "_" + "a" * 33,
        "lci_" + "a" * 10 + "_" + "a" * 35,
        "lci_" + "a" * 10 + "_" + "a" * 34 + "\n",
        "lci_" + "a" * 10 + "_" + "a" * 33 + "\0",
        "lci_" + "a" * 10 + "_" + "a" * 33 + "ä",
        "a" * 100_000,
    ],
)
def test_what_is_no_secret_is_refused_without_asking_the_database(
    text: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        assert APIKey.authenticate(text) is None


def test_a_prefix_of_no_key_costs_the_same_work_as_one_in_use(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    _, secret = APIKey.issue(name="LibreChat")
    APIKey.authenticate(secret)
    wrong = secret[:-1] + ("a" if secret[-1] != "a" else "b")
    for text in (wrong, "lci_" + "a" * 10 + "_" + "a" * 34):
        with django_assert_num_queries(1):
            assert APIKey.authenticate(text) is None


def test_a_key_that_was_read_before_is_seen_as_it_is_now() -> None:
    key, secret = APIKey.issue(name="LibreChat")
    first = APIKey.authenticate(secret)
    assert first is not None
    first.name = "Only of this request"
    again = APIKey.authenticate(secret)
    assert again is not None
    assert (again.name, again.limits.pids) == ("LibreChat", settings.SANDBOX_PIDS)
    APIKey.objects.filter(pk=key.pk).update(name="Changed", pids=20)
    changed = APIKey.authenticate(secret)
    assert changed is not None
    assert (changed.name, changed.limits.pids) == ("Changed", 20)
    APIKey.objects.filter(pk=key.pk).update(name="LibreChat", pids=None)
    assert APIKey.authenticate(secret) == again
    APIKey.objects.filter(pk=key.pk).delete()
    assert APIKey.authenticate(secret) is None


def test_no_more_keys_are_remembered_than_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_key, "MOST_REMEMBERED", 3)
    secrets = [APIKey.issue(name="LibreChat")[1] for _ in range(5)]
    for secret in [*secrets, *secrets]:
        assert APIKey.authenticate(secret) is not None
        assert len(api_key.remembered) <= 3


def test_a_revoked_key_opens_nothing() -> None:
    key, secret = APIKey.issue(name="LibreChat")
    assert APIKey.authenticate(secret) == key
    key.revoke()
    assert APIKey.authenticate(secret) is None
    assert key.state == "revoked"


def test_a_key_expires_at_its_moment() -> None:
    end = timezone.now() + timedelta(days=3)
    key, secret = APIKey.issue(name="LibreChat", expires_at=end)
    with time_machine.travel(end - timedelta(seconds=1), tick=False):
        assert APIKey.authenticate(secret) == key
    with time_machine.travel(end, tick=False):
        assert APIKey.authenticate(secret) is None
        assert key.state == "expired"


def test_revoking_twice_keeps_the_first_time() -> None:
    key, _ = APIKey.issue(name="LibreChat")
    copy = APIKey.objects.get(pk=key.pk)
    with time_machine.travel("2030-01-01 00:00Z", tick=False):
        key.revoke()
    with time_machine.travel("2031-01-01 00:00Z", tick=False):
        copy.revoke()
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert key.revoked_at.year == 2030


def test_usable_keys_are_neither_revoked_nor_expired() -> None:
    now = timezone.now()
    lasting, _ = APIKey.issue(name="Lasting")
    later, _ = APIKey.issue(name="Until tomorrow", expires_at=now + timedelta(days=1))
    APIKey.issue(name="Until yesterday", expires_at=now - timedelta(days=1))
    APIKey.issue(name="Revoked")[0].revoke()
    assert set(APIKey.objects.usable()) == {lasting, later}


def test_use_is_written_at_most_once_a_minute(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    key, _ = APIKey.issue(name="LibreChat")
    with time_machine.travel("2030-01-01 12:00:00Z", tick=False) as clock:
        key.record_use()
        clock.shift(59)
        with django_assert_num_queries(0):
            key.record_use()
        clock.shift(2)
        key.record_use()
    key.refresh_from_db()
    assert key.last_used_at is not None
    assert f"{key.last_used_at:%H:%M:%S}" == "12:01:01"


def test_another_workers_newer_use_is_not_overwritten() -> None:
    key, _ = APIKey.issue(name="LibreChat")
    stale = APIKey.objects.get(pk=key.pk)
    with time_machine.travel("2030-01-01 12:00:30Z", tick=False):
        key.record_use()
    with time_machine.travel("2030-01-01 12:00:40Z", tick=False):
        stale.record_use()
    key.refresh_from_db()
    assert key.last_used_at is not None
    assert key.last_used_at.second == 30


def test_trusted_networks_share_one_row_that_no_secret_opens() -> None:
    key = APIKey.objects.for_trusted_networks()
    assert APIKey.objects.for_trusted_networks() == key
    assert APIKey.objects.count() == 1
    assert not key.has_secret
    assert key not in APIKey.objects.with_secret()
    assert key not in APIKey.objects.revocable()


def test_a_row_without_digest_opens_to_nobody() -> None:
    _, secret = APIKey.issue(name="LibreChat")
    APIKey.objects.update(digest="")
    assert APIKey.authenticate(secret) is None
