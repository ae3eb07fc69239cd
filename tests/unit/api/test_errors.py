from __future__ import annotations

import gzip
import logging
import threading
from typing import Any

import pytest
from pytest_django import Settings

from audit.ids import new_id
from audit.models import Execution, SandboxSession
from sandbox.errors import ImageMissing, RunnerMismatch
from tests.fakes.engine import FakeEngine
from tests.unit.api.librechat import FORM, JSON, LibreChat, form_data
from tests.unit.api.test_paths import OPERATIONS
from tests.unit.sandbox.helpers import lease

PERMANENT = (
    "execution_profile_mismatch",
    "capability_mismatch",
    "unsupported_capability",
    "bridge_worker_mismatch",
    "stateful_workspace_unsupported",
)


class ImagelessEngine(FakeEngine):
    """Nobody has built the image."""

    def create(self, name: str, **more: Any) -> None:
        raise ImageMissing("hunter2")


class OutdatedEngine(FakeEngine):
    """Its image is of another version than this server."""

    def create(self, name: str, **more: Any) -> None:
        raise RunnerMismatch("hunter2")


class BuggyEngine(FakeEngine):
    """Fails in a way that nobody has thought of."""

    def attach(self, name: str) -> Any:
        raise RuntimeError("hunter2 at /var/lib/secret")


def test_every_route_has_one_error_shape(alice: LibreChat) -> None:
    for method, path, _ in OPERATIONS:
        stranger = LibreChat(alice.key, "lci_wrong")
        answers = [
            stranger.call(method, path),
            alice.call("PUT", path),
            alice.call("OPTIONS", path),
        ]
        assert [answer.status_code for answer in answers] == [401, 405, 405], path
        for answer in answers:
            assert answer["Content-Type"] == "application/json"
            assert isinstance(answer.json()["error"], str)
            assert len(answer.json()["error"]) < 100
            assert not any(word in answer.content.decode() for word in PERMANENT)


def test_without_a_key_the_answer_says_what_to_do(alice: LibreChat) -> None:
    for path in ("/exec", "/upload", "/exec/programmatic"):
        response = alice.client.post(path, b"{}", content_type=JSON)
        assert response.status_code == 401
        assert "key" in response.json()["error"]
        assert "LIBRECHAT_CODE_BASEURL" in response.json()["message"]
        assert "WWW-Authenticate" in response


def test_a_wrong_method_names_itself_only(alice: LibreChat) -> None:
    response = alice.call("GET", "/exec")
    assert (response.status_code, response.json()["error"]) == (405, "Method not allowed")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", FORM])
def test_a_run_must_come_as_json(alice: LibreChat, content_type: str) -> None:
    response = alice.post("/exec", b'{"lang": "py", "code": ""}', content_type=content_type)
    assert (response.status_code, response.json()["error"]) == (415, "Unsupported media type")
    assert not Execution.objects.exists()


def test_json_may_name_its_charset(alice: LibreChat) -> None:
    body = '{"lang": "py", "code": "print(\'ä\')"}'.encode()
    for charset in ("utf-8", "UTF-8"):
        response = alice.post("/exec", body, content_type=f"application/json; charset={charset}")
        assert response.json()["stdout"] == "ä\n"


def test_a_compressed_body_is_refused(alice: LibreChat) -> None:
    body = gzip.compress(b'{"lang": "py", "code": ""}')
    response = alice.post("/exec", body, headers={"Content-Encoding": "gzip"})
    assert (response.status_code, response.json()["error"]) == (415, "Unsupported media type")
    identity = alice.post(
        "/exec", {"lang": "py", "code": ""}, headers={"Content-Encoding": "identity"}
    )
    assert identity.status_code == 200


def test_a_large_body_is_refused(alice: LibreChat, settings: Settings) -> None:
    settings.SANDBOX_BODY_MB = 1
    response = alice.exec("#" * 1024 * 1024)
    assert (response.status_code, response.json()) == (413, {"error": "Request body too large"})
    assert alice.exec("#" * 1024 * 1023).status_code == 200


def test_a_busy_session_is_a_429_that_says_when_to_come_back(
    alice: LibreChat, settings: Settings
) -> None:
    settings.SANDBOX_QUEUE_SECONDS = 0.1
    answer = alice.run("")
    assert lease(SandboxSession.objects.get())
    response = alice.exec("", session_id=answer["session_id"])
    assert response.status_code == 429
    body = response.json()
    assert body.keys() == {"error", "message", "retry_after_seconds"}
    assert body["error"] == "rate_limited"
    assert response["Retry-After"] == str(body["retry_after_seconds"])
    assert body["retry_after_seconds"] > 0


def test_an_engine_that_is_away_is_a_503_and_heals(
    alice: LibreChat, fake: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    fake.down = True
    response = alice.exec("print(1)")
    assert (response.status_code, response.json()) == (503, {"error": "Sandbox engine unavailable"})
    assert Execution.objects.get().status == Execution.Status.ABORTED
    fake.down = False
    assert alice.run("print(1)")["stdout"] == "1\n"
    assert "Sandbox engine unavailable" in caplog.text


@pytest.mark.parametrize(
    ("engine", "reason"), [("ImagelessEngine", "is missing"), ("OutdatedEngine", "is outdated")]
)
def test_an_image_that_does_not_fit_names_the_remedy(
    alice: LibreChat, settings: Settings, engine: str, reason: str
) -> None:
    settings.SANDBOX_ENGINE = f"tests.unit.api.test_errors.{engine}"
    response = alice.exec("print(1)")
    assert response.status_code == 503
    assert response.json() == {
        "error": "Sandbox engine unavailable",
        "message": f"The sandbox image {reason}. Run script/bootstrap.",
    }


def test_a_container_that_dies_in_the_run_is_a_503(alice: LibreChat, fake: FakeEngine) -> None:
    timer = threading.Timer(0.5, lambda: fake.kill(fake.created[-1]))
    timer.start()
    response = alice.exec("import time; time.sleep(30)")
    timer.join()
    assert response.status_code == 503
    assert response.json() == {"error": "The sandbox was lost during the run"}


def test_a_bug_is_a_500_that_tells_nothing(
    alice: LibreChat, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.SANDBOX_ENGINE = "tests.unit.api.test_errors.BuggyEngine"
    response = alice.exec("print(1)")
    assert (response.status_code, response.json()) == (500, {"error": "Internal server error"})
    assert "RuntimeError" in caplog.text
    assert alice.secret not in caplog.text


def test_no_secret_of_the_base_url_is_logged_or_answered(
    alice: LibreChat, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    mount = f"/k/{alice.secret}"
    assert alice.client.get(f"{mount}/v1/files/{new_id()}").status_code == 404
    assert alice.client.get(f"{mount}/nothing").status_code == 404
    assert (
        alice.client.post(f"{mount}/exec", b"{", content_type="application/json").status_code == 400
    )
    broken = form_data(("a", b"x"), fields={})[:-9]
    response = alice.client.post(f"{mount}/upload", broken, content_type=FORM)
    assert response.status_code == 400
    assert alice.secret not in caplog.text + response.content.decode()
    assert alice.secret not in response.wsgi_request.get_full_path()
    assert alice.secret not in repr(response.wsgi_request) + repr(response.wsgi_request.META)


@pytest.mark.parametrize("host", ["evil.example", "a b", "[::"])
def test_a_host_that_is_not_ours_is_a_json_400(
    alice: LibreChat, settings: Settings, host: str
) -> None:
    settings.ALLOWED_HOSTS = ["sandbox.example"]
    response = alice.client.get("/nothing", headers={"Host": host})
    assert response.status_code == 400
    assert response.json() == {"error": "Bad request"}
