"""Protocol §12 item 1."""

import re

import pytest

from sandbox.api.middleware import normalise
from tests.unit.api.librechat import LibreChat

BASES = ["", "/v1", "/run/exec"]
ID = "A" * 21
OPERATIONS = [
    ("POST", "/exec", 400),
    ("POST", "/exec/programmatic", 501),
    ("POST", "/exec/programmatic/cancel", 404),
    ("POST", "/upload", 415),
    ("POST", "/upload/batch", 415),
    ("GET", f"/download/{ID}/{ID}", 404),
    ("GET", f"/files/{ID}?detail=summary", 404),
    ("GET", f"/sessions/{ID}/objects/{ID}", 404),
    ("DELETE", f"/sessions/{ID}/objects/{ID}", 404),
    ("DELETE", f"/files/{ID}/{ID}", 404),
]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(("method", "path", "status"), OPERATIONS)
def test_every_operation_is_found_under_every_base_url(
    alice: LibreChat, base: str, method: str, path: str, status: int
) -> None:
    response = alice.call(method, base + path, data=b"{}", content_type="application/json")
    assert response.status_code == status
    assert response.json()["error"] != "Not found"


@pytest.mark.parametrize("base", BASES)
def test_a_key_in_the_base_url_is_enough(alice: LibreChat, base: str) -> None:
    for mount in (f"/k/{alice.secret}{base}", f"{base}/k/{alice.secret}"):
        response = alice.client.post(
            f"{mount}/exec", {"lang": "py", "code": ""}, content_type="application/json"
        )
        assert response.status_code == 200, mount


def test_run_exec_itself_runs_code(alice: LibreChat) -> None:
    for path in ("/run/exec", "/run/exec/", f"/k/{alice.secret}/run/exec"):
        response = alice.post(path, {"lang": "py", "code": "print(1)"})
        assert response.json()["stdout"] == "1\n", path


@pytest.mark.parametrize(
    "path", ["//exec", "/exec/", "//v1//exec//", "/run//exec//exec/", "//exec///"]
)
def test_repeated_and_trailing_slashes_do_not_matter(alice: LibreChat, path: str) -> None:
    response = alice.post(path, {"lang": "py", "code": "print(1)"})
    assert response.status_code == 200
    assert response.json()["stdout"] == "1\n"


@pytest.mark.parametrize(
    "path",
    ["/", "/nothing", "/v1", "/v1/nothing", "/v1x/exec", "/k/", "/run", "/exec/x", "/admins"],
)
def test_an_unknown_path_is_a_json_404(alice: LibreChat, path: str) -> None:
    for method in ("GET", "POST", "DELETE", "PUT", "OPTIONS"):
        response = alice.call(method, path)
        assert (response.status_code, response.json()) == (404, {"error": "Not found"}), method


def test_csrf_does_not_apply(alice: LibreChat) -> None:
    alice.client.handler.enforce_csrf_checks = True
    assert alice.run("print(1)")["stdout"] == "1\n"


def test_nothing_sets_a_cookie_or_may_be_cached(alice: LibreChat) -> None:
    for response in (alice.get("/health"), alice.get("/nothing"), alice.exec("print(1)")):
        assert not response.cookies
        assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/health", "/v1/health", "/run/exec/health"])
def test_health_needs_no_key(alice: LibreChat, path: str) -> None:
    response = alice.client.get(path)
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("path", "normal", "secret"),
    [
        ("/k/s/exec", "/exec", "s"),
        ("/k/s/v1/exec", "/exec", "s"),
        ("/k/s/run/exec", "/exec", "s"),
        ("/run/exec/k/s/upload/batch", "/upload/batch", "s"),
        ("/v1/k/s", "/", "s"),
        ("/run/exec/exec/programmatic", "/exec/programmatic", ""),
        ("/run/executor", "/run/executor", ""),
        ("", "/", ""),
        ("*", "*", ""),
        ("/exec\n", "/exec\n", ""),
    ],
)
def test_the_base_url_is_taken_off(path: str, normal: str, secret: str) -> None:
    assert normalise(path) == (normal, secret)


def test_the_admin_keeps_its_paths_and_its_html(alice: LibreChat) -> None:
    assert alice.client.get("/admin/login/").status_code == 200
    missing = alice.client.get("/admin/nothing/")
    assert missing.status_code == 302
    assert re.match("/admin/login/", missing["Location"])
