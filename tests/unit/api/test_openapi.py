"""The API's description: that it is what the code says, of all that there is, and no more."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from jsonschema import ValidationError
from pytest_django import Settings
from rest_framework.response import Response

from keys.authentication import APIRequest
from sandbox.api.urls import urlpatterns
from sandbox.api.views import Health
from tests.openapi import DOCUMENT, OF_DOCS, check, check_value, document, resolved
from tests.unit.api.librechat import CheckedClient, LibreChat

ROOT = Path(__file__).resolve().parent.parent.parent.parent
METHODS = ("get", "post", "put", "patch", "delete")
JSON = {"Content-Type": "application/json"}


def generate(target: Path) -> str:
    call_command(
        "spectacular", validate=True, fail_on_warn=True, format="openapi-json", file=str(target)
    )
    return target.read_text()


def test_the_file_is_what_the_code_says(tmp_path: Path) -> None:
    assert generate(tmp_path / "openapi.json") == DOCUMENT.read_text(), (
        "The API has changed. If it was meant to: python manage.py spectacular --validate "
        f"--fail-on-warn --format openapi-json --file {DOCUMENT.relative_to(ROOT)}"
    )


def test_it_says_nothing_of_this_installation(tmp_path: Path, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["hunter2.example"]
    settings.KEYS_TRUSTED_NETWORKS = ["192.0.2.0/24"]
    for name in dir(settings):
        if name.startswith("SANDBOX_") and type(getattr(settings, name)) is int:
            setattr(settings, name, 4711)
    assert generate(tmp_path / "openapi.json") == DOCUMENT.read_text()


def test_it_describes_every_method_of_every_route_and_no_other() -> None:
    routes: dict[str, Any] = {
        "/" + str(route.pattern).replace("<", "{").replace(">", "}"): route.callback
        for route in urlpatterns
    }
    served = {
        (path, method)
        for path, view in routes.items()
        for method in METHODS
        if hasattr(view.cls, method)
    }
    described = {(path, method) for path, item in document()["paths"].items() for method in item}
    assert described == served


def operations() -> Iterator[dict[str, Any]]:
    for item in document()["paths"].values():
        yield from item.values()


def contents() -> Iterator[dict[str, Any]]:
    """Everything that has a schema, and examples of it."""
    for operation in operations():
        yield from operation.get("requestBody", {}).get("content", {}).values()
        for response in operation["responses"].values():
            yield from resolved(response)["content"].values()


def test_every_example_is_of_its_schema() -> None:
    shown = [
        (content["schema"], example["value"])
        for content in contents()
        for example in content.get("examples", {}).values()
    ]
    for schema, value in shown:
        check_value(schema, value)
    assert len(shown) > 50


def test_every_answer_but_a_download_has_an_example() -> None:
    for operation in operations():
        for status, response in operation["responses"].items():
            for media_type, content in resolved(response)["content"].items():
                has_one = bool(content.get("examples"))
                assert has_one or media_type == "*/*", (operation["operationId"], status)


def test_its_links_lead_to_operations() -> None:
    named = {operation["operationId"] for operation in operations()}
    links = [
        link["operationId"]
        for operation in operations()
        for link in operation["responses"].get("200", {}).get("links", {}).values()
    ]
    assert set(links) == {"download", "listFiles", "getFile", "deleteFile"}
    assert named.issuperset(links)


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/health", 200, {"status": "ok", "version": 1}),
        ("GET", "/health", 200, {"status": "fine"}),
        ("GET", "/health", 200, {}),
        ("GET", "/health", 418, {"error": "I'm a teapot"}),
        ("PATCH", "/health", 200, {"status": "ok"}),
        ("GET", "/nothing", 200, {"status": "ok"}),
        ("GET", "/nothing", 404, {"detail": "Not found."}),
        ("POST", "/exec", 429, {"error": "rate_limited"}),
        ("GET", "/files/" + "A" * 21, 200, ["a", 1]),
        ("DELETE", f"/files/{'A' * 21}/{'A' * 21}", 404, {"error": "Not found", "details": {}}),
    ],
)
def test_an_answer_that_is_not_described_is_noticed(
    method: str, path: str, status: int, body: Any
) -> None:
    headers = JSON | {"Retry-After": "1"}
    with pytest.raises((AssertionError, ValidationError)):
        check(method, path, status, headers, json.dumps(body).encode())


def test_a_client_that_checks_does(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(view: Health, request: APIRequest) -> Response:
        return Response({"status": "ok", "host": "hunter2"})

    assert CheckedClient().get("/health").json() == {"status": "ok"}
    monkeypatch.setattr(Health, "get", answer)
    with pytest.raises(ValidationError):
        CheckedClient().get("/health")


def test_a_header_that_is_missing_is_noticed() -> None:
    with pytest.raises(AssertionError, match="without WWW-Authenticate"):
        check("POST", "/exec", 401, JSON, b'{"error": "API key is missing"}')


@pytest.mark.parametrize("base", ["", "/v1", "/run/exec", "/k/secret"])
def test_anybody_may_read_it(db: None, base: str) -> None:
    described = Client().get(f"{base}/openapi.json")
    assert described["Content-Type"] == "application/json"
    assert described.json() == document()
    page = Client().get(f"{base}/docs")
    assert page["Content-Type"] == "text/html; charset=utf-8"
    for response in (described, page):
        assert response.status_code == 200
        assert not response.cookies
        assert response["Cache-Control"] == "no-store"


def test_the_page_may_load_our_files_and_nothing_else() -> None:
    response = Client().get("/docs")
    policy = response["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "http" not in policy
    for text in (b"://", b"<style", b"onload", b"<script>"):
        assert text not in response.content


@pytest.mark.parametrize("path", OF_DOCS)
def test_it_can_be_turned_off(alice: LibreChat, settings: Settings, path: str) -> None:
    settings.API_DOCS = False
    for response in (Client().get(path), alice.get(path)):
        assert (response.status_code, response.json()) == (404, {"error": "Not found"})


@pytest.mark.parametrize("path", OF_DOCS)
def test_it_is_only_read(alice: LibreChat, path: str) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        response = alice.call(method, path)
        assert (response.status_code, response.json()["error"]) == (405, "Method not allowed")


def test_a_server_that_answers_it_imports_nothing_that_makes_it() -> None:
    code = (
        "import sys; from interpreter_site.wsgi import application;"
        "from django.test import Client; from django.test.utils import setup_test_environment;"
        "setup_test_environment();"
        "assert Client().get('/openapi.json').status_code == 200;"
        "assert Client().get('/docs').status_code == 200;"
        "print([name for name in sys.modules if name.startswith(('drf_spectacular.openapi', "
        "'sandbox.api.openapi', 'jsonschema'))])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
