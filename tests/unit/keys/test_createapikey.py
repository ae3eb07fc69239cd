from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from keys.models import APIKey

pytestmark = pytest.mark.django_db


def create(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("createapikey", *arguments, stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue()


def test_the_secret_stands_alone_on_stdout() -> None:
    out, err = create("LibreChat")
    key = APIKey.objects.get()
    assert out.count("\n") == 1
    assert APIKey.authenticate(out.strip()) == key
    assert key.expires_at is None
    assert f"API key {key.prefix} (LibreChat), for good" in err
    assert out.strip() not in err


@pytest.mark.parametrize("option", ["--no-code", "--no-output"])
def test_what_its_runs_say_can_be_kept_out_of_the_audit_log(option: str) -> None:
    create("LibreChat", option)
    key = APIKey.objects.get()
    assert (key.store_code, key.store_output) == (option != "--no-code", option != "--no-output")


@time_machine.travel("2030-01-01 12:00Z", tick=False)
def test_it_expires_after_days() -> None:
    _, err = create("LibreChat", "--expires", "90")
    assert APIKey.objects.get().expires_at == timezone.now() + timedelta(days=90)
    assert "until 2030-04-01 12:00 UTC" in err


@time_machine.travel("2030-01-01 12:00Z", tick=False)
def test_it_expires_on_a_date() -> None:
    create("LibreChat", "--expires", "2030-12-31")
    expires_at = APIKey.objects.get().expires_at
    assert expires_at is not None
    assert expires_at.isoformat() == "2030-12-31T00:00:00+00:00"


@pytest.mark.parametrize("text", ["soon", "0", "-3", "2020-01-01", "2030-02-31", "99999999", "²"])
def test_it_refuses_an_end_that_makes_no_sense(text: str) -> None:
    with pytest.raises(CommandError, match="--expires"):
        create("LibreChat", f"--expires={text}")
    assert not APIKey.objects.exists()


def test_if_none_creates_the_first_and_no_second() -> None:
    first, _ = create("LibreChat", "--if-none")
    second, err = create("LibreChat", "--if-none")
    assert first
    assert second == ""
    assert "A usable API key exists" in err
    assert APIKey.objects.count() == 1


def test_if_none_counts_usable_keys_with_a_secret_only() -> None:
    APIKey.issue(name="Revoked")[0].revoke()
    APIKey.issue(name="Expired", expires_at=timezone.now())
    APIKey.objects.for_trusted_networks()
    out, _ = create("LibreChat", "--if-none")
    assert APIKey.authenticate(out.strip()) is not None


@pytest.mark.parametrize("name", ["", " ", "x" * 101])
def test_a_name_must_fit(name: str) -> None:
    with pytest.raises(CommandError, match="name"):
        create(name)
    assert not APIKey.objects.exists()


def test_a_key_can_have_an_image_that_there_is(settings: Settings) -> None:
    settings.SANDBOX_IMAGES = {"science": "custom-rce-science:latest"}
    create("A", "--image", "science")
    create("B", "--image", "default")
    create("C")
    images = APIKey.objects.order_by("name").values_list("image", flat=True)
    assert list(images) == ["science", "", ""]
    with pytest.raises(CommandError, match="SANDBOX_IMAGES names them: default, science"):
        create("D", "--image", "sience")
