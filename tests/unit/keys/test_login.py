from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from keys.login import COOKIE, LIMIT
from keys.models import Failure

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer

pytestmark = pytest.mark.django_db

LOGIN = "/admin/login/?next=/admin/"
TOO_MANY = "Too many logins have failed. Try again in 5 minutes."
PROXY = "192.0.2.1"


@pytest.fixture(autouse=True)
def operator() -> User:
    return User.objects.create_superuser("admin", "", "correct horse")


def log_in(
    password: str, username: str = "admin", address: str = PROXY, client: Client | None = None
) -> Answer:
    fields = {"username": username, "password": password}
    return (client or Client()).post(LOGIN, fields, REMOTE_ADDR=address)


def guess() -> None:
    for number in range(LIMIT):
        assert TOO_MANY not in log_in(f"guess {number}").content.decode()


def test_past_the_limit_not_even_the_right_password_is_tried() -> None:
    guess()
    answer = log_in("correct horse")
    assert answer.status_code == 200
    assert TOO_MANY in answer.content.decode()


def test_after_the_window_the_operator_gets_in() -> None:
    guess()
    Failure.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert log_in("correct horse").status_code == 302


def test_from_another_address_the_operator_gets_in_all_the_same() -> None:
    guess()
    assert log_in("correct horse", address="203.0.113.9").status_code == 302


def test_a_browser_that_has_logged_in_before_is_not_kept_out_by_others() -> None:
    known = Client()
    assert log_in("correct horse", client=known).status_code == 302
    known.cookies.pop("sessionid")
    guess()
    assert TOO_MANY in log_in("correct horse").content.decode()
    assert log_in("correct horse", client=known).status_code == 302


def test_but_it_may_not_guess_without_end_either() -> None:
    known = Client()
    log_in("correct horse", client=known)
    known.cookies.pop("sessionid")
    for number in range(LIMIT):
        log_in(f"guess {number}", client=known)
    assert TOO_MANY in log_in("correct horse", client=known).content.decode()


@pytest.mark.parametrize("cookie", ["admin", "admin:1:forged", ""])
def test_a_forged_cookie_is_none(cookie: str) -> None:
    guess()
    browser = Client()
    browser.cookies[COOKIE] = cookie
    assert TOO_MANY in log_in("correct horse", client=browser).content.decode()


def test_another_users_cookie_is_none() -> None:
    User.objects.create_superuser("other", "", "battery staple")
    browser = Client()
    assert log_in("battery staple", "other", "203.0.113.9", browser).status_code == 302
    guess()
    assert TOO_MANY in log_in("correct horse", client=browser).content.decode()


def test_names_of_nobody_are_counted_for_their_address() -> None:
    """To check a password takes half a second of a processor, be there such a user or not."""
    for number in range(LIMIT):
        log_in("guess", f"user{number}")
    assert TOO_MANY in log_in("guess", "nobody").content.decode()


def test_a_login_that_succeeds_is_not_counted() -> None:
    for _ in range(LIMIT + 2):
        assert log_in("correct horse").status_code == 302


@pytest.mark.parametrize("https", [True, False])
def test_the_cookie_is_not_for_scripts(settings: Settings, https: bool) -> None:
    settings.SESSION_COOKIE_SECURE = https
    cookie = log_in("correct horse").cookies[COOKIE]
    assert bool(cookie["secure"]) is https
    assert cookie["httponly"]
    assert (cookie["samesite"], cookie["path"]) == ("Strict", "/admin/")
