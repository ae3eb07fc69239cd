from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from keys.models import APIKey

pytestmark = pytest.mark.django_db
LIST = "/admin/keys/apikey/"
ADD = "/admin/keys/apikey/add/"
SCOPES = {"scopes": ["exec", "files"]}


def page(key: APIKey, which: str = "change") -> str:
    return reverse(f"admin:keys_apikey_{which}", args=(key.pk,))


def issue(client: Client) -> str:
    """The secret that the answer shows."""
    answer = client.post(ADD, {"name": "LibreChat", "note": "chat.example.org", **SCOPES})
    assert answer.status_code == 200
    match = re.search(r'<pre id="secret">(lci_\w+)</pre>', answer.content.decode())
    assert match is not None
    return match[1]


def test_a_key_issued_in_the_admin_opens_the_api(admin_client: Client) -> None:
    secret = issue(admin_client)
    key = APIKey.objects.get()
    assert APIKey.authenticate(secret) == key
    assert (key.name, key.note, key.expires_at) == ("LibreChat", "chat.example.org", None)
    assert LogEntry.objects.get().object_id == str(key.pk)


def test_the_answer_has_the_lines_for_librechat(admin_client: Client) -> None:
    answer = admin_client.post(
        ADD, {"name": "LibreChat", **SCOPES}, headers={"Host": "code.example:8000"}
    )
    text = answer.content.decode()
    key = re.search(r'<pre id="secret">(\w+)</pre>', text)
    assert key is not None
    assert f"LIBRECHAT_CODE_API_KEY={key[1]}" in text
    assert "LIBRECHAT_CODE_BASEURL=http://code.example:8000\n" in text
    assert f"LIBRECHAT_CODE_BASEURL=http://any:{key[1]}@code.example:8000\n" in text


def test_the_secret_is_shown_once_and_kept_nowhere(admin_client: Client) -> None:
    answer = admin_client.post(ADD, {"name": "LibreChat", **SCOPES})
    key = APIKey.objects.get()
    assert "no-store" in answer.headers["Cache-Control"]
    # Neither Django's messages nor the session carry it: both are stored in clear.
    assert not list(get_messages(answer.wsgi_request))
    assert "messages" not in answer.cookies
    sessions = [session.get_decoded() for session in Session.objects.all()]
    for place in (LIST, page(key), page(key, "history"), "/admin/"):
        text = admin_client.get(place).content.decode()
        assert not re.search(r"lci_\w{10}_\w+", text)
        assert key.digest not in text
    assert "lci_" not in repr(sessions)


def test_a_new_key_cannot_have_expired_already(admin_client: Client) -> None:
    answer = admin_client.post(
        ADD, {"name": "LibreChat", **SCOPES, "expires_at_0": "2020-01-01", "expires_at_1": "00:00"}
    )
    assert "must expire in the future" in answer.content.decode()
    assert not APIKey.objects.exists()


def test_expiry_and_name_can_be_changed_and_the_secret_stays(admin_client: Client) -> None:
    secret = issue(admin_client)
    key = APIKey.objects.get()
    tomorrow = timezone.now() + timedelta(days=1)
    admin_client.post(
        page(key),
        {
            "name": "Chat",
            **SCOPES,
            "expires_at_0": f"{tomorrow:%Y-%m-%d}",
            "expires_at_1": "12:00:00",
        },
    )
    key.refresh_from_db()
    assert key.name == "Chat"
    assert f"{key.expires_at:%Y-%m-%d %H:%M}" == f"{tomorrow:%Y-%m-%d} 12:00"
    assert APIKey.authenticate(secret) == key


def test_revoking_asks_first(admin_client: Client) -> None:
    key, secret = APIKey.issue(name="LibreChat")
    address = page(key, "revoke")
    assert address in admin_client.get(page(key)).content.decode()
    assert "Revoke for good?" in admin_client.get(address).content.decode()
    assert APIKey.authenticate(secret) == key
    answer = admin_client.post(address, {"confirmed": "yes"}, follow=True)
    assert "LibreChat is revoked." in answer.content.decode()
    assert APIKey.authenticate(secret) is None
    assert LogEntry.objects.get().get_change_message() == "Revoked."


def test_revoking_needs_a_form_of_our_own(admin_client: Client) -> None:
    key, _ = APIKey.issue(name="LibreChat")
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = admin_client.cookies
    address = page(key, "revoke")
    assert strict.post(address, {"confirmed": "yes"}).status_code == 403
    strict.get(address, {"confirmed": "yes"})
    assert APIKey.objects.usable().exists()


def test_several_keys_are_revoked_together(admin_client: Client) -> None:
    keys = [APIKey.issue(name=name)[0] for name in ("Alice", "Bob", "Charlie")]
    chosen = {"action": "revoke_selected", "_selected_action": [keys[0].pk, keys[1].pk]}
    answer = admin_client.post(LIST, chosen)
    assert "Alice" in answer.content.decode()
    assert APIKey.objects.usable().count() == 3
    admin_client.post(LIST, chosen | {"confirmed": "yes"})
    assert list(APIKey.objects.usable()) == [keys[2]]


def test_a_revoked_key_is_settled(admin_client: Client) -> None:
    key, _ = APIKey.issue(name="LibreChat")
    key.revoke()
    text = admin_client.get(page(key)).content.decode()
    assert "revoke/" not in text
    assert 'name="expires_at_0"' not in text
    assert admin_client.post(page(key), {"name": "Other"}).status_code == 403
    answer = admin_client.post(page(key, "revoke"), {"confirmed": "yes"})
    assert answer.status_code == 403


def test_the_row_of_trusted_networks_is_settled_too(admin_client: Client) -> None:
    key = APIKey.objects.for_trusted_networks()
    assert "no secret" in admin_client.get(page(key)).content.decode()
    address = page(key, "revoke")
    assert admin_client.post(address, {"confirmed": "yes"}).status_code == 403
    assert admin_client.post(page(key), {"name": "Other"}).status_code == 403


def test_a_key_cannot_be_deleted(admin_client: Client) -> None:
    key, _ = APIKey.issue(name="LibreChat")
    answer = admin_client.post(page(key, "delete"), {"post": "yes"})
    assert answer.status_code == 403
    admin_client.post(
        LIST, {"action": "delete_selected", "_selected_action": [key.pk], "post": "yes"}
    )
    assert APIKey.objects.filter(pk=key.pk).exists()


def test_who_may_only_view_revokes_nothing(client: Client) -> None:
    auditor = User.objects.create_user("auditor", is_staff=True)
    auditor.user_permissions.add(Permission.objects.get(codename="view_apikey"))
    client.force_login(auditor)
    key, _ = APIKey.issue(name="LibreChat")
    assert client.get(page(key)).status_code == 200
    assert client.get(ADD).status_code == 403
    revoke = page(key, "revoke")
    assert client.post(revoke, {"confirmed": "yes"}).status_code == 403
    chosen = {"action": "revoke_selected", "_selected_action": [key.pk], "confirmed": "yes"}
    client.post(LIST, chosen)
    assert APIKey.objects.usable().exists()


def test_strangers_see_the_login(client: Client) -> None:
    answer = client.get(LIST)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("state", ["usable", "expired", "revoked"])
def test_the_list_is_filtered_by_state(admin_client: Client, state: str) -> None:
    APIKey.issue(name="Key that is usable")
    APIKey.issue(name="Key that is expired", expires_at=timezone.now())
    APIKey.issue(name="Key that is revoked")[0].revoke()
    text = admin_client.get(LIST, {"state": state}).content.decode()
    assert re.findall(r"Key that is (\w+)", text) == [state]


def test_the_list_asks_the_same_number_of_questions_for_many_keys(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(30):
        APIKey.issue(name=f"Key {number}")
    with django_assert_max_num_queries(6):
        assert admin_client.get(LIST).status_code == 200


def test_pages_run_no_script_of_their_own(admin_client: Client) -> None:
    policy = admin_client.get(LIST).headers["Content-Security-Policy"]
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert scripts == "script-src 'self' 'unsafe-eval'"


def test_a_person_is_added_and_given_a_password(admin_client: Client) -> None:
    word = "correct horse battery"
    form = {"username": "carol", "password1": word, "password2": word, "usable_password": "true"}
    admin_client.post("/admin/auth/user/add/", form)
    carol = User.objects.get(username="carol")
    assert carol.check_password(word)
    assert admin_client.get(f"/admin/auth/user/{carol.pk}/change/").status_code == 200
    assert admin_client.get(f"/admin/auth/user/{carol.pk}/password/").status_code == 200
    assert admin_client.get("/admin/auth/user/").status_code == 200


def test_a_key_gets_one_of_the_images_that_there_are(
    admin_client: Client, settings: Settings
) -> None:
    settings.SANDBOX_IMAGES = {"science": "custom-rce-science:latest"}
    offered = re.findall(r'<option value="(\w*)"', admin_client.get(ADD).content.decode())
    assert offered == ["", "science"]
    answer = admin_client.post(ADD, {"name": "Unknown", "image": "none", **SCOPES})
    assert "not one of the available choices" in answer.content.decode()
    admin_client.post(ADD, {"name": "Scientist", "image": "science", **SCOPES})
    key = APIKey.objects.get()
    assert key.image == "science"
    # It has left the settings since: another change leaves it as it is.
    settings.SANDBOX_IMAGES = {}
    admin_client.post(page(key), {"name": "Renamed", "image": "science", **SCOPES})
    key.refresh_from_db()
    assert (key.name, key.image) == ("Renamed", "science")
