"""What a key may use otherwise than the server gives."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from keys import checks
from keys.models import APIKey, Issuer, KeyQuotas
from keys.quotas import MOST, QUOTA_BY_NAME, QUOTAS, Quota

ADD = "/admin/keys/apikey/add/"
SCOPES = {"scopes": ["exec", "files"]}
every_quota = pytest.mark.parametrize("quota", QUOTAS, ids=lambda quota: quota.name)


def page(key: APIKey) -> str:
    return reverse("admin:keys_apikey_change", args=(key.pk,))


def test_a_key_has_a_field_for_every_quota_and_for_nothing_else() -> None:
    assert {field.name for field in KeyQuotas._meta.get_fields()} == QUOTA_BY_NAME.keys()


@every_quota
def test_by_default_there_is_none(quota: Quota) -> None:
    assert quota.of_server == quota.in_force(APIKey()) == 0


@every_quota
def test_a_keys_own_counts_instead_of_the_servers(quota: Quota, settings: Settings) -> None:
    setattr(settings, quota.setting, 10)
    assert quota.in_force(APIKey()) == 10
    for own in (5, 20, 0):
        assert quota.in_force(APIKey(**{quota.name: own})) == own
        tenant = APIKey(issuer=Issuer(pk=1, **{quota.name: own}), **{quota.name: 7})
        assert quota.in_force(tenant.credential) == own


@every_quota
def test_a_setting_that_makes_no_sense_is_found_at_start(quota: Quota, settings: Settings) -> None:
    assert checks.quotas(None) == []
    for value in (-1, MOST + 1):
        setattr(settings, quota.setting, value)
        [found] = checks.quotas(None)
        assert (found.id, quota.setting in found.msg) == ("keys.E005", True)


def test_the_admin_shows_the_servers_quotas(admin_client: Client, settings: Settings) -> None:
    settings.KEYS_RUNS_PER_HOUR = 777
    text = admin_client.get(ADD).content.decode()
    assert "The server&#x27;s: 777. From minute 0" in text or "The server's: 777. From" in text
    for quota in QUOTAS:
        assert f'name="{quota.name}"' in text


def test_a_key_is_made_and_changed_with_quotas_of_its_own(admin_client: Client) -> None:
    admin_client.post(ADD, {"name": "Class", **SCOPES, "runs_per_day": "9", "user_stored_mb": "0"})
    key = APIKey.objects.get()
    assert (key.runs_per_day, key.user_stored_mb, key.stored_mb) == (9, 0, None)
    admin_client.post(page(key), {"name": "Class", **SCOPES, "concurrent_runs": "2"})
    key.refresh_from_db()
    assert (key.runs_per_day, key.user_stored_mb, key.concurrent_runs) == (None, None, 2)


@every_quota
def test_the_admin_refuses_what_makes_no_sense(admin_client: Client, quota: Quota) -> None:
    for value in ("-1", str(MOST + 1), "1.5", "many"):
        answer = admin_client.post(ADD, {"name": "Class", **SCOPES, quota.name: value})
        form = (answer.context_data or {})["adminform"].form
        assert form.errors.keys() == {quota.name}
    assert not APIKey.objects.exists()


def manage(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=StringIO(), no_color=True)
    return out.getvalue().strip()


@pytest.mark.django_db
def test_the_command_makes_a_key_with_quotas_and_the_list_shows_them() -> None:
    secret = manage(
        "createapikey", "Class", "--quota", "runs_per_hour=100", "--quota", "user_runs_per_hour=0"
    )
    key = APIKey.authenticate(secret)
    assert key
    assert (key.runs_per_hour, key.user_runs_per_hour, key.runs_per_day) == (100, 0, None)
    manage("createapikey", "Plain")
    headings, plain, of_class = manage("listapikeys").splitlines()
    column = headings.index("QUOTAS")
    assert plain[column:].split()[0] == "-"
    assert of_class[column:].split()[0] == "runs_per_hour=100,user_runs_per_hour=0"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("runs_per_hour=-1", "From 0, which is no quota"),
        ("runs_per_hour=many", "invalid literal"),
        ("runs_per_hour", "NAME=VALUE"),
        ("memory_mb=256", "runs_per_minute, runs_per_hour"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(argument: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        manage("createapikey", "Class", "--quota", argument)
    assert not APIKey.objects.exists()
