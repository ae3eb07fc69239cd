"""What a key may have less of than the server allows."""

from __future__ import annotations

import math
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import models
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries, Settings

from keys.limits import BY_NAME, LIMITS, Limit, Limits, Scope
from keys.models import APIKey, KeyLimits

ADD = "/admin/keys/apikey/add/"
SCOPES = {"scopes": ["exec", "files"]}
every_limit = pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)


def page(key: APIKey) -> str:
    return reverse("admin:keys_apikey_change", args=(key.pk,))


def test_a_key_has_a_field_for_every_limit_and_for_nothing_else() -> None:
    fields = {field.name: field for field in KeyLimits._meta.get_fields()}
    assert fields.keys() == BY_NAME.keys()
    for limit in LIMITS:
        is_float = isinstance(fields[limit.name], models.FloatField)
        assert limit.number == (float if is_float else int)


@every_limit
def test_a_keys_own_limit_counts_where_it_is_lower(limit: Limit, settings: Settings) -> None:
    server = limit.lowest * 10
    setattr(settings, limit.setting, server)
    assert getattr(Limits.of(), limit.name) == server
    assert getattr(Limits.of(APIKey()), limit.name) == server
    key = APIKey(**{limit.name: limit.lowest * 5})
    assert getattr(Limits.of(key), limit.name) == limit.lowest * 5
    # The setting was lowered since.
    setattr(settings, limit.setting, limit.lowest * 2)
    assert getattr(Limits.of(key), limit.name) == limit.lowest * 2


@every_limit
def test_it_can_be_anything_from_what_is_of_use_to_what_the_server_has(limit: Limit) -> None:
    assert limit.refusal(limit.lowest) == limit.refusal(limit.of_server) == ""
    for value in (0, -1, limit.lowest * 0.99, limit.of_server * 1.01, math.nan, math.inf):
        assert limit.setting in limit.refusal(value)


def test_only_what_is_fixed_in_a_container_is_compared_with_it() -> None:
    of_run = {limit.name: limit.lowest for limit in LIMITS if limit.scope == Scope.RUN}
    server = Limits.of().of_container()
    assert Limits.of(APIKey(**of_run)).of_container() == server
    for limit in LIMITS:
        if limit.scope == Scope.CONTAINER:
            key = APIKey(**{limit.name: limit.lowest})
            assert Limits.of(key).of_container() != server
            assert f"{limit.name}={limit.lowest}" in Limits.of(key).of_container().split()


# --- in the admin ---


def test_the_admin_shows_the_servers_limits(admin_client: Client, settings: Settings) -> None:
    settings.SANDBOX_MEMORY_MB = 777
    text = admin_client.get(ADD).content.decode()
    assert "The server's: 777. Memory and swap together" in text
    for limit in LIMITS:
        assert f'name="{limit.name}"' in text
    for scope in Scope:
        assert scope.value in text


def test_a_key_is_made_and_changed_with_limits_of_its_own(admin_client: Client) -> None:
    admin_client.post(ADD, {"name": "Guest", **SCOPES, "memory_mb": "256", "cpus": "0.25"})
    key = APIKey.objects.get()
    assert (key.memory_mb, key.cpus, key.pids) == (256, 0.25, None)
    assert 'value="256"' in admin_client.get(page(key)).content.decode()
    admin_client.post(page(key), {"name": "Guest", **SCOPES, "memory_mb": "", "pids": "40"})
    key.refresh_from_db()
    assert (key.memory_mb, key.cpus, key.pids) == (None, None, 40)


@every_limit
def test_the_admin_refuses_more_than_the_server_has(admin_client: Client, limit: Limit) -> None:
    for value in (str(limit.of_server + 1), "0", "nan", "much"):
        answer = admin_client.post(ADD, {"name": "Guest", **SCOPES, limit.name: value})
        assert answer.status_code == 200
        assert not APIKey.objects.exists(), value
        form = (answer.context_data or {})["adminform"].form
        assert form.errors.keys() == {limit.name}


def test_a_setting_lowered_since_keeps_nobody_from_changing_something_else(
    admin_client: Client, settings: Settings
) -> None:
    key, _ = APIKey.issue(name="Guest", limits={"memory_mb": 400})
    settings.SANDBOX_MEMORY_MB = 384
    admin_client.post(page(key), {"name": "Other", **SCOPES, "memory_mb": "400"})
    key.refresh_from_db()
    assert (key.name, key.memory_mb) == ("Other", 400)
    admin_client.post(page(key), {"name": "Other", **SCOPES, "memory_mb": "390"})
    key.refresh_from_db()
    assert key.memory_mb == 400


# --- by the command ---


def create(*arguments: str) -> str:
    out = StringIO()
    call_command("createapikey", *arguments, stdout=out, stderr=StringIO(), no_color=True)
    return out.getvalue().strip()


@pytest.mark.django_db
def test_the_command_makes_a_key_with_limits_of_its_own() -> None:
    secret = create("Guest", "--limit", "memory_mb=256", "--limit", "cpus=0.25")
    key = APIKey.authenticate(secret)
    assert key
    assert (key.memory_mb, key.cpus, key.pids) == (256, 0.25, None)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("memory_mb=513", "SANDBOX_MEMORY_MB raises the server's"),
        ("memory_mb=1", "From 128 to 512 MB"),
        ("memory_mb=many", "invalid literal"),
        ("memory_mb=1.5", "invalid literal"),
        ("memory_mb", "NAME=VALUE"),
        ("cpus=nan", "From 0.05 to 0.5"),
        ("note=1", "memory_mb, pids"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(argument: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        create("Guest", "--limit", argument)
    assert not APIKey.objects.exists()


@pytest.mark.django_db
def test_a_keys_limits_cost_no_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    _, secret = APIKey.issue(name="Guest", limits={"memory_mb": 256})
    APIKey.authenticate(secret)
    with django_assert_num_queries(1):
        key = APIKey.authenticate(secret)
        assert Limits.of(key).memory_mb == 256
