"""The running service, called as its description says and as it does not. Schemathesis finds the
calls: valid and invalid ones, with methods, bodies and parameters at the edges of each schema."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import negative_data_rejection, not_a_server_error

from tests.conftest import empty_database
from tests.containers import docker_engine
from tests.openapi import DOCUMENT
from tests.service import Service

SETTINGS = {
    # What is tried without a right key is to be told so, as often as it is.
    "KEYS_WRONG_LIMIT": "1000000",
    "SANDBOX_RUN_SECONDS": "5",
    "SANDBOX_MAX_RUN_SECONDS": "5",
    "WEB_WORKERS": "1",
}


@dataclass(frozen=True)
class Target:
    service: Service

    @property
    def headers(self) -> dict[str, str]:
        """With one user: each has containers of their own, and one takes seconds to be made."""
        return {"X-API-Key": self.service.key, "User-Id": "u1"}

    def uploaded(self) -> dict[str, str]:
        answer = self.service.post("/upload", files={"file": ("a.csv", b"1,2\n")}).json()
        return {"session_id": answer["session_id"], "file_id": answer["files"][0]["id"]}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    docker_engine()
    directory = tmp_path_factory.mktemp("schemathesis")
    with (
        empty_database(f"interpreter_schemathesis_{os.getpid()}") as url,
        Service(directory=directory, database_url=url, settings=SETTINGS) as service,
    ):
        yield Target(service)


api = schemathesis.openapi.from_path(DOCUMENT)
# What is invalid is ignored in many places, as LibreChat's versions differ: not being refused is no
# fault. And a 501 is meant, where the description has nothing else.
LENIENT = [negative_data_rejection]
ON_A_FILE = (
    "GET /download/{session_id}/{file_id}",
    "GET /sessions/{session_id}/objects/{file_id}",
    "DELETE /files/{session_id}/{file_id}",
)
NOT_SUPPORTED = {"/exec/programmatic": [not_a_server_error]}
# A busy machine takes its time to make a container; ten are the default.
SECONDS = 120
# The same calls each time: a build fails by what was changed, never by chance.
api.config.generation.update(deterministic=True, with_security_parameters=False)


bounded = settings(
    max_examples=10,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def call(target: Target, case: Case[Any]) -> None:
    case.call_and_validate(
        base_url=target.service.url,
        headers=target.headers,
        timeout=SECONDS,
        excluded_checks=LENIENT + NOT_SUPPORTED.get(case.operation.path, []),
    )


@api.parametrize()
@bounded
def test_every_call_is_answered_as_described(case: Case[Any], target: Target) -> None:
    call(target, case)


@api.include(path_regex="session_id").parametrize()
@bounded
def test_so_is_one_for_a_file_that_is_there(case: Case[Any], target: Target) -> None:
    ids = target.uploaded()
    case.path_parameters = {name: ids[name] for name in case.path_parameters}
    call(target, case)


def test_what_an_upload_has_made_is_there_until_it_is_deleted(target: Target) -> None:
    """Along the description's links: an answer names what the next call asks for."""
    seen: set[tuple[str, int]] = set()

    class Workflow(api.exclude(path_regex="^/exec").as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, case: Case[Any]) -> dict[str, Any]:
            return {
                "base_url": target.service.url,
                "headers": target.headers,
                "timeout": SECONDS,
            }

        def validate_response(self, response: Any, case: Case[Any], **more: Any) -> None:
            seen.add((case.operation.label, response.status_code))
            # With what came before, by which a file is known to be there or gone.
            case.validate_response(
                response,
                excluded_checks=LENIENT,
                transport_kwargs=more,
                recorder=self.recorder,
            )

    Workflow.run(settings=settings(bounded, max_examples=20, stateful_step_count=8))
    for label in ON_A_FILE:
        assert seen.issuperset({(label, 200), (label, 404)}), sorted(seen)
