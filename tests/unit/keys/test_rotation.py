from __future__ import annotations

import re
from datetime import timedelta
from io import StringIO

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from keys.models import APIKey
from tests.unit.keys.test_admin import page

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def rotate(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("rotateapikey", *arguments, stdout=out, stderr=err, no_color=True)
    return out.getvalue().strip(), err.getvalue()


def test_the_former_secret_is_valid_for_its_time_and_no_longer() -> None:
    key, former = APIKey.issue(name="LibreChat")
    now = timezone.now()
    with time_machine.travel(now, tick=False):
        assert key.rotate(DAY)
    new = key.secret
    assert new != former
    assert new.split("_")[1] == former.split("_")[1]
    with time_machine.travel(now + DAY - timedelta(seconds=1), tick=False):
        assert APIKey.authenticate(former) == APIKey.authenticate(new) == key
    with time_machine.travel(now + DAY, tick=False):
        assert APIKey.authenticate(former) is None
        assert APIKey.authenticate(new) == key


def test_without_grace_it_ends_at_once() -> None:
    key, former = APIKey.issue(name="LibreChat")
    assert key.rotate(timedelta(0))
    assert APIKey.authenticate(former) is None
    assert APIKey.authenticate(key.secret) == key
    key.refresh_from_db()
    assert key.former_digest == ""


def test_only_one_former_secret_is_kept() -> None:
    key, first = APIKey.issue(name="LibreChat")
    key.rotate(DAY)
    second = key.secret
    key.rotate(DAY)
    found = [APIKey.authenticate(secret) for secret in (first, second, key.secret)]
    assert found == [None, key, key]


def test_a_revoked_key_loses_both() -> None:
    key, former = APIKey.issue(name="LibreChat")
    key.rotate(DAY)
    key.revoke()
    assert APIKey.authenticate(former) is APIKey.authenticate(key.secret) is None
    assert not key.rotate(DAY)


def test_an_expired_key_loses_both() -> None:
    key, former = APIKey.issue(name="LibreChat", expires_at=timezone.now() + timedelta(hours=1))
    key.rotate(DAY)
    with time_machine.travel(timezone.now() + timedelta(hours=2), tick=False):
        assert APIKey.authenticate(former) is APIKey.authenticate(key.secret) is None
        assert not key.rotate(DAY)


def test_of_two_who_rotate_at_once_one_succeeds() -> None:
    key, _ = APIKey.issue(name="LibreChat")
    copy = APIKey.objects.get(pk=key.pk)
    assert key.rotate(DAY)
    assert not copy.rotate(DAY)
    assert copy.secret == ""
    assert APIKey.authenticate(key.secret) == key


def test_what_has_no_secret_gets_none() -> None:
    key = APIKey.objects.for_trusted_networks()
    assert not key.rotate(DAY)
    assert not APIKey.objects.get().has_secret


def test_a_former_secret_costs_one_query(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    key, former = APIKey.issue(name="LibreChat")
    key.rotate(DAY)
    APIKey.authenticate(former)
    with django_assert_num_queries(1):
        assert APIKey.authenticate(former) == key


@time_machine.travel("2030-01-01 12:00Z", tick=False)
def test_the_command_shows_the_new_secret_alone_on_stdout() -> None:
    key, former = APIKey.issue(name="LibreChat")
    secret, err = rotate(f"lci_{key.prefix}")
    assert APIKey.authenticate(secret) == APIKey.authenticate(former) == key
    assert "former secret is valid until 2030-01-02 12:00 UTC" in err
    assert secret not in err


def test_the_commands_grace_is_in_hours_and_may_be_none() -> None:
    key, former = APIKey.issue(name="LibreChat")
    secret, err = rotate("LibreChat", "--grace=0")
    assert APIKey.authenticate(former) is None
    assert APIKey.authenticate(secret) == key
    assert "valid no more" in err
    with pytest.raises(CommandError, match="--grace"):
        rotate("LibreChat", "--grace=-1")
    with pytest.raises(CommandError, match="--grace"):
        rotate("LibreChat", "--grace=100000")


def test_the_command_refuses_what_is_over() -> None:
    key, _ = APIKey.issue(name="LibreChat")
    key.revoke()
    with pytest.raises(CommandError, match="is revoked"):
        rotate(key.prefix)


def test_rotated_in_the_admin_the_secret_is_shown_once(admin_client: Client) -> None:
    key, former = APIKey.issue(name="LibreChat")
    address = page(key, "rotate")
    assert address in admin_client.get(page(key)).content.decode()
    assert "A new secret?" in admin_client.get(address).content.decode()
    assert APIKey.objects.get().former_digest == ""
    answer = admin_client.post(address, {"grace_hours": "2"})
    text = answer.content.decode()
    match = re.search(r'<pre id="secret">(lci_\w+)</pre>', text)
    assert match is not None
    assert APIKey.authenticate(match[1]) == APIKey.authenticate(former) == key
    assert f"LIBRECHAT_CODE_API_KEY={match[1]}" in text
    assert "no-store" in answer.headers["Cache-Control"]
    assert LogEntry.objects.get().get_change_message() == "Rotated, 2 hours of grace."
    assert match[1] not in admin_client.get(page(key)).content.decode()


def test_the_admin_asks_for_sensible_hours(admin_client: Client) -> None:
    key, secret = APIKey.issue(name="LibreChat")
    for hours in ("", "-1", "soon", "99999"):
        text = admin_client.post(page(key, "rotate"), {"grace_hours": hours}).content.decode()
        assert "A new secret?" in text
    assert APIKey.authenticate(secret) == key


def test_the_admin_rotates_no_key_that_is_over(admin_client: Client) -> None:
    revoked, _ = APIKey.issue(name="Revoked")
    revoked.revoke()
    expired, _ = APIKey.issue(name="Expired", expires_at=timezone.now())
    for key in (revoked, expired, APIKey.objects.for_trusted_networks()):
        assert admin_client.post(page(key, "rotate"), {"grace_hours": "1"}).status_code == 403
        assert "rotate/" not in admin_client.get(page(key)).content.decode()
