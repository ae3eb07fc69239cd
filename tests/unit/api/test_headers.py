"""What answers tell browsers, and LibreChat's users behind it. Protocol §3.4, §9.37."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from pytest_django import Settings

from tests.unit.api.librechat import LibreChat

HOSTILE_NAMES = [
    ("a.html", "text/html"),
    ("a.svg", "image/svg+xml"),
    ("a.xml", "text/xml"),
    ("a.xhtml", "application/xhtml+xml"),
    ("a.js", "text/javascript"),
    ("a.mht", "multipart/related"),
    ("a.swf", "application/x-shockwave-flash"),
    ("a.png", "text/html; charset=utf-7"),
    ("a.html", "image/png\r\nSet-Cookie: a=b"),
]


@pytest.fixture
def behind_https(settings: Settings) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.SECURE_HSTS_SECONDS = 3600
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True


HTTPS = {"X-Forwarded-Proto": "https"}


@pytest.mark.parametrize(
    "path", ["/health", "/nothing", "/files/x", "/static/nothing", "/admin/login/", "/admin/x"]
)
def test_every_answer_is_for_our_own_pages_only(
    alice: LibreChat, behind_https: None, path: str
) -> None:
    response = alice.call("GET", path, headers=HTTPS)
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "DENY"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "no-store" in response["Cache-Control"]
    assert response["Strict-Transport-Security"] == "max-age=3600"
    assert "Server" not in response
    assert "X-Powered-By" not in response
    assert "Access-Control-Allow-Origin" not in response


def test_pages_have_a_policy_that_lets_no_inline_script_run(alice: LibreChat) -> None:
    for path in ("/admin/login/", "/admin/nothing/"):
        response = alice.client.get(path, follow=True)
        directives = dict(
            directive.split(" ", 1) for directive in response["Content-Security-Policy"].split("; ")
        )
        assert directives["default-src"] == "'none'"
        assert "unsafe-inline" not in directives["script-src"]
        assert "http" not in " ".join(directives.values())
        assert directives["frame-ancestors"] == directives["base-uri"] == "'none'"


@pytest.mark.parametrize(("name", "content_type"), HOSTILE_NAMES)
def test_a_download_is_saved_whatever_it_is(
    alice: LibreChat, behind_https: None, name: str, content_type: str
) -> None:
    boundary = "b"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: {content_type}\r\n\r\n<script>alert(1)</script>\r\n--{boundary}--\r\n"
    )
    uploaded = alice.post(
        "/upload", body.encode(), content_type=f"multipart/form-data; boundary={boundary}"
    ).json()
    path = f"/download/{uploaded['session_id']}/{uploaded['files'][0]['id']}"
    for method in ("GET", "HEAD"):
        response = alice.call(method, path, headers=HTTPS)
        assert response["Content-Type"] in ("application/octet-stream", "image/png")
        assert response["Content-Disposition"].startswith("attachment; ")
        assert response["X-Content-Type-Options"] == "nosniff"
        assert "no-store" in response["Cache-Control"]
        assert not response.cookies
        # LibreChat's users would get them as LibreChat's own.
        for header in (
            "Content-Security-Policy",
            "Strict-Transport-Security",
            "Cross-Origin-Resource-Policy",
            "Cross-Origin-Opener-Policy",
            "X-Frame-Options",
            "Set-Cookie",
            "Content-Encoding",
        ):
            assert header not in response


@pytest.mark.parametrize(
    "name",
    ['a"; filename="b.html', "a\r\nX: y", "a\x00b", "ä\u202egpj.exe", "a;b", "%0d%0aX: y", "\\"],
)
def test_a_name_cannot_leave_its_header(alice: LibreChat, name: str) -> None:
    code = f"import os; open(os.fsencode({name!r}.replace(chr(0), '_')), 'w').write('x')"
    answer = alice.run(code)
    for file in answer["files"]:
        response = alice.get(f"/download/{answer['session_id']}/{file['id']}")
        disposition = response["Content-Disposition"]
        assert re.fullmatch(
            r"attachment; filename=\"[^\"\\%\r\n]*\"; filename\*=UTF-8''[A-Za-z0-9._~%-]+",
            disposition,
        )
        assert "X" not in response.headers


@pytest.mark.django_db
def test_cookies_travel_over_https_only_and_are_not_for_scripts(behind_https: None) -> None:
    response = Client().get("/admin/login/", headers=HTTPS)
    cookie = response.cookies["csrftoken"]
    assert cookie["secure"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


@pytest.mark.django_db
def test_the_login_s_cookies_too(
    behind_https: None, django_user_model: type, settings: Settings
) -> None:
    django_user_model.objects.create_superuser("admin", "", "pw")  # type: ignore[attr-defined]
    answer = Client().post("/admin/login/", {"username": "admin", "password": "pw"}, headers=HTTPS)
    assert answer.cookies.keys() >= {"sessionid", "known_browser"}
    for cookie in answer.cookies.values():
        assert cookie["secure"]
        assert cookie["httponly"]
        assert cookie["samesite"] in ("Lax", "Strict")


@pytest.mark.django_db
@pytest.mark.parametrize("length", [3 * 1024 * 1024, 10**18])
@pytest.mark.parametrize(
    "content_type", ["multipart/form-data; boundary=b", "application/x-www-form-urlencoded"]
)
def test_a_form_of_a_stranger_is_never_large(length: int, content_type: str) -> None:
    """Django would store a multipart form's files, however long they are, to look for its token."""
    response = Client().generic(
        "POST", "/admin/login/", b"x", content_type=content_type, CONTENT_LENGTH=str(length)
    )
    assert response.status_code == 400
