"""What `manage.py librechat` knows of versions, and the lines that it prints."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from keys.models import APIKey, Issuer
from sandbox.librechat.lines import base_url
from sandbox.librechat.releases import Release, UnknownVersion


def printed(*arguments: str) -> str:
    out = StringIO()
    call_command("librechat", *arguments, stdout=out, no_color=True)
    return out.getvalue()


@pytest.mark.parametrize(
    ("text", "number"),
    [("0.8.6", (0, 8, 6)), ("v0.8.8-rc1", (0, 8, 8)), ("0.7.5", (0, 7, 5))],
)
def test_a_version_can_be_written_in_several_ways(text: str, number: tuple[int, int, int]) -> None:
    assert Release.of(text).number == number


@pytest.mark.parametrize("text", ["", "0.8", "eight", "0.7.4", "0.8.6 "])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(UnknownVersion):
        Release.of(text)


def test_what_changes_with_the_versions() -> None:
    # The last that sends a key, the first that does not, those that show URLs, and the newest.
    numbers = ["0.7.5", "0.7.6", "0.8.5", "0.8.6", "0.8.7", "0.8.8", "newest"]
    releases = [Release.of(number) for number in numbers]
    assert releases == sorted(releases)

    def those(name: str) -> list[str]:
        return [str(release) for release in releases if getattr(release, name)]

    assert those("sends_key") == ["0.7.5", "0.7.6", "0.8.5"]
    assert those("has_files") == numbers[1:]
    assert those("runs_bash") == those("has_objects") == those("has_batches") == numbers[3:]
    assert those("shows_url_of_errors") == ["0.8.6", "0.8.7"]
    assert those("expects_profile") == ["0.8.8", "newest"]
    assert those("asks_listing_again") == ["newest"]


@pytest.mark.parametrize(
    ("version", "address", "expected"),
    [
        ("0.8.5", "http://host:8000", "http://host:8000/run/exec"),
        ("0.8.5", "http://host:8000/v1/", "http://host:8000/v1"),
        ("0.8.6", "https://host", "https://any:KEY@host/run/exec"),
        ("newest", "http://host:8000/v1", "http://any:KEY@host:8000/v1"),
    ],
)
def test_the_key_is_where_the_version_needs_it(version: str, address: str, expected: str) -> None:
    assert base_url(Release.of(version), address, "KEY") == expected


def test_without_a_key_there_is_a_place_for_it() -> None:
    text = printed("0.8.5")
    assert "LIBRECHAT_CODE_BASEURL=http://<this host>:8000/run/exec\n" in text
    assert "LIBRECHAT_CODE_API_KEY=<key>\n" in text
    assert "any:<key>@" in printed("0.8.6")


@pytest.mark.django_db
def test_a_key_is_issued_when_one_is_named() -> None:
    text = printed("0.8.5", "--key", "Our LibreChat")
    secret = text.partition("LIBRECHAT_CODE_API_KEY=")[2].strip()
    key = APIKey.authenticate(secret)
    assert key
    assert key.name == "Our LibreChat"


@pytest.mark.django_db
def test_an_issuer_is_registered_when_asked_for_and_never_changed() -> None:
    text = printed("0.8.6", "--jwt")
    assert "-----BEGIN PUBLIC KEY-----" in text
    assert not Issuer.objects.exists()
    printed("0.8.6", "--jwt", "--issuer", "LibreChat")
    keys = Issuer.objects.get().public_keys
    with pytest.raises(CommandError, match="below its present ones"):
        printed("0.8.6", "--jwt", "--issuer", "LibreChat")
    assert Issuer.objects.get().public_keys == keys


@pytest.mark.parametrize(
    "arguments",
    [
        ("0.8.5", "--jwt"),
        ("0.8.6", "--issuer", "LibreChat"),
        ("0.8.6", "--base-url", "http://localhost:9"),
        ("0.1.0",),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        printed(*arguments)
