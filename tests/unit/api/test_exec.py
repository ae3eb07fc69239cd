"""Protocol §12 items 2 to 6."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from django.core import serializers
from pytest_django import Settings

from audit.ids import is_id
from audit.models import Execution, SandboxSession
from tests.unit.api.librechat import LibreChat


def test_the_answer_is_one_flat_object(alice: LibreChat) -> None:
    answer = alice.run("print('hello')")
    assert answer.pop("wall_time") >= 0
    assert answer.pop("cpu_time") >= 0
    assert answer.pop("memory") > 0
    assert is_id(answer.pop("session_id"))
    assert answer == {
        "stdout": "hello\n",
        "stderr": "",
        "files": [],
        "code": 0,
        "signal": None,
        "status": None,
        "message": None,
        "language": "python",
    }


def test_each_step_of_a_request_is_timed(alice: LibreChat) -> None:
    alice.run("open('a.txt', 'w').close()")
    execution = Execution.objects.get()
    steps = execution.step_ms
    assert steps.keys() == {
        "auth", "parse", "session", "inputs", "claim", "audit", "start", "attach", "files_in",
        "run", "collect", "store", "total",
    }  # fmt: skip
    assert execution.wall_ms is not None
    assert steps["run"] >= execution.wall_ms - 1
    assert steps["total"] == pytest.approx(sum(steps.values()) - steps["total"], abs=5)


def test_output_is_exact(alice: LibreChat) -> None:
    code = r"import sys; sys.stdout.buffer.write(b'\n \xc3\xa4\xff\x00 no newline')"
    assert alice.run(code)["stdout"] == "\n ä�\0 no newline"


@pytest.mark.parametrize(
    ("lang", "code"),
    [
        ("py", "print(6*7)"),
        ("Python", "print(6*7)"),
        ("python3", "print(6*7)"),
        ("bash", "echo $((6*7))"),
        ("sh", "echo $((6*7))"),
        ("shell", "echo $((6*7))"),
        ("js", "console.log(6*7)"),
        ("JavaScript", "console.log(6*7)"),
        ("nodejs", "console.log(6*7)"),
    ],
)
def test_languages_have_aliases(alice: LibreChat, lang: str, code: str) -> None:
    assert alice.run(code, lang)["stdout"] == "42\n"


@pytest.mark.parametrize("lang", ["r", "cobol", "<b>", ""])
def test_an_unknown_language_is_named(alice: LibreChat, lang: str) -> None:
    response = alice.exec("1", lang)
    assert response.status_code == 400
    assert response.json() == {"error": f"Unsupported language: {lang}"}
    assert not Execution.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"lang": "py"}, "code"),
        ({"lang": "py", "code": None}, "code"),
        ({"lang": "py", "code": 7}, "code"),
        ({"lang": "py", "code": ["print(1)"]}, "code"),
        ({"code": "print(1)"}, "lang"),
        ({"lang": None, "code": ""}, "lang"),
        ({"lang": 3, "code": ""}, "lang"),
        ({"lang": "py", "code": "", "timeout": 0}, "timeout"),
        ({"lang": "py", "code": "", "timeout": -5}, "timeout"),
        ({"lang": "py", "code": "", "timeout": True}, "timeout"),
        ({"lang": "py", "code": "", "timeout": "soon"}, "timeout"),
        ({"lang": "py", "code": "", "timeout": 10**400}, "timeout"),
        ({"lang": "py", "code": "", "files": {}}, "files"),
        ({"lang": "py", "code": "", "files": ["a"]}, "files"),
        ({"lang": "py", "code": "", "files": [{}] * 257}, "files"),
        ({"lang": "py", "code": "", "files": [{"name": 5}]}, "files"),
        ({"lang": "py", "code": "", "args": {}}, "args"),
        ({"lang": "py", "code": "", "args": [["a"]]}, "args"),
        ({"lang": "py", "code": "", "args": ["a\0b"]}, "args"),
        ({"lang": "py", "code": "", "args": ["a" * 200_000]}, "args"),
        ({"lang": "py", "code": "", "runtime_session_hint": "a b"}, "runtime_session_hint"),
        ({"lang": "py", "code": "", "runtime_session_hint": "a" * 129}, "runtime_session_hint"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(
    alice: LibreChat, body: dict[str, Any], field: str
) -> None:
    response = alice.post("/exec", body)
    assert response.status_code == 400
    assert response.json()["error"] == "Invalid request"
    assert field in response.json()["details"]
    assert not Execution.objects.exists()


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x", "a/../b", "a\0b", "a\\b", "a//b", "a/", "."]
)
def test_a_file_name_that_leads_out_is_refused(alice: LibreChat, name: str) -> None:
    response = alice.exec("", files=[{"id": "A" * 21, "session_id": "A" * 21, "name": name}])
    assert response.status_code == 400
    assert "files" in response.json()["details"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'"text"',
        b"[1, 2]",
        b"null",
        b"\xff\xfe\xfd",
        b'{"lang": NaN}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"lang": "py", "code": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: body[:12].decode("latin-1"),
)
def test_a_malformed_body_is_a_400(alice: LibreChat, body: bytes) -> None:
    response = alice.post("/exec", body)
    assert response.status_code == 400
    assert response.json()["error"] == "Invalid request"


@pytest.mark.parametrize(
    ("args", "seen"),
    [
        (["a", "b c"], ["a", "b c"]),
        ("one string", ["one string"]),
        (None, []),
        ([], []),
        ([1, 2.5, True, None, "x"], ["1", "2.5", "true", "x"]),
        (7, ["7"]),
        (["--", "-x", "ä"], ["--", "-x", "ä"]),
    ],
)
def test_args_reach_the_program(alice: LibreChat, args: Any, seen: list[str]) -> None:
    answer = alice.run("import sys, json; print(json.dumps(sys.argv[1:]))", args=args)
    assert json.loads(answer["stdout"]) == seen


def test_junk_and_secrets_in_the_body_are_neither_refused_nor_kept(
    alice: LibreChat, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    junk: dict[str, Any] = {
        "LIBRECHAT_CODE_API_KEY": "hunter2-in-the-body",
        "apiKey": "hunter2-again",
        "intent": {"why": "hunter2-nested"},
        "codeSessionKey": "hunter2-session",
        "workspace_instance_id": 9,
        "shell_output_filter": "rtk",
        "args": None,
        "files": None,
        "session_id": None,
        "entity_id": None,
        "timeout": None,
        "runtime_session_hint": None,
        "user_id": None,
    }
    assert alice.run("print(1)", **junk)["stdout"] == "1\n"
    ref = {"id": 5, "session_id": {}, "name": "gone", "inherited": True, "path": "hunter2"}
    assert alice.run("print(1)", files=[ref, None])["stderr"] == ""
    rows = [*Execution.objects.all(), *SandboxSession.objects.all()]
    assert "hunter2" not in serializers.serialize("json", rows) + caplog.text
    assert alice.secret not in serializers.serialize("json", rows) + caplog.text


@pytest.mark.parametrize(
    ("code", "lang", "exit_code", "text"),
    [
        ("print('before')\n1/0", "py", 1, "ZeroDivisionError"),
        ("def (", "py", 1, "SyntaxError"),
        ("exit 3", "bash", 3, ""),
        ("nosuchcommand", "bash", 127, "not found"),
        ("throw new Error('js failed')", "js", 1, "js failed"),
    ],
)
def test_a_failing_program_is_not_an_error(
    alice: LibreChat, code: str, lang: str, exit_code: int, text: str
) -> None:
    answer = alice.run(code, lang)
    assert answer["code"] == exit_code
    assert text in answer["stderr"]
    assert (answer["status"], answer["signal"]) == (None, None)
    assert alice.run("print('next')")["stdout"] == "next\n"


def test_a_program_that_runs_too_long_is_a_result_with_its_output(alice: LibreChat) -> None:
    answer = alice.run("echo partial; echo > kept.txt; sleep 60", "bash", timeout=700)
    assert answer["stdout"] == "partial\n"
    assert answer["stderr"].endswith("\n[sandbox] Time limit exceeded\n")
    assert (answer["status"], answer["signal"], answer["code"]) == ("TO", "SIGKILL", 137)
    assert answer["message"] == "Time limit exceeded"
    assert [file["name"] for file in answer["files"]] == ["kept.txt"]


def test_too_much_output_is_cut_and_said_so(alice: LibreChat, settings: Settings) -> None:
    settings.SANDBOX_OUTPUT_BYTES = 1000
    answer = alice.run("print('a' * 10_000_000)")
    assert answer["stdout"] == "a" * 1000
    assert (answer["status"], answer["message"]) == ("OL", "stdout length exceeded")
    assert "[sandbox] stdout length exceeded" in answer["stderr"]
    assert answer["code"] == 0


def test_a_signal_is_named(alice: LibreChat) -> None:
    answer = alice.run("import os; os.abort()")
    assert answer["signal"] == "SIGABRT"
    assert answer["status"] is None


def test_empty_code_runs(alice: LibreChat) -> None:
    answer = alice.run("")
    assert (answer["stdout"], answer["stderr"], answer["code"]) == ("", "", 0)


def test_half_a_character_in_the_code_is_replaced(alice: LibreChat) -> None:
    body = b'{"lang": "py", "code": "print(ascii(\'\\ud83d\'))", "user_id": "a\\ud83d\\u0000"}'
    response = alice.post("/exec", body)
    assert response.json()["stdout"] == "'\\ufffd'\n"
    assert Execution.objects.get().user_id == "a�"


def test_nul_in_the_code_is_a_result(alice: LibreChat) -> None:
    answer = alice.run("print('a')\n# \0")
    assert answer["code"] == 1
    assert "null bytes" in answer["stderr"]


def test_the_execution_knows_who_asked(alice: LibreChat) -> None:
    alice.run("", user_id="from the body", entity_id="agent_1")
    execution = Execution.objects.get()
    assert (execution.user_id, execution.entity_id) == ("from the body", "agent_1")
    assert execution.client_address == "127.0.0.1"
    assert execution.key == alice.key


def test_a_user_id_of_any_kind_is_taken(alice: LibreChat) -> None:
    for given, kept in ((12345, "12345"), ("u" * 200, "u" * 128), ({"a": 1}, ""), (True, "")):
        answer = alice.run("", user_id=given)
        assert SandboxSession.objects.get(pk=answer["session_id"]).user_id == kept


def test_a_hint_keeps_one_session(alice: LibreChat) -> None:
    first = alice.run("open('note', 'w').write('x')", runtime_session_hint="conv:1")
    second = alice.run("print(open('note').read())", runtime_session_hint="conv:1")
    assert second["stdout"] == "x\n"
    assert first["session_id"] == second["session_id"] == second["runtime_session_id"]
    assert (first["runtime_status"], second["runtime_status"]) == ("new", "reused")
    assert "runtime_session_id" not in alice.run("")


def test_a_session_continues_without_files_only(alice: LibreChat) -> None:
    first = alice.run("open('note', 'w').write('x')")
    again = alice.run("print(open('note').read())", session_id=first["session_id"])
    assert (again["stdout"], again["session_id"]) == ("x\n", first["session_id"])
    other = {"id": "x" * 21, "session_id": "y" * 21, "name": "other"}
    apart = alice.run(
        "import os; print(os.listdir())", session_id=first["session_id"], files=[other]
    )
    assert apart["session_id"] != first["session_id"]
    assert "note" not in apart["stdout"]


def test_another_keys_session_is_not_continued(alice: LibreChat, bob: LibreChat) -> None:
    first = alice.run("open('note', 'w').write('x')")
    answer = bob.run("import os; print(os.path.exists('note'))", session_id=first["session_id"])
    assert answer["stdout"] == "False\n"
    assert answer["session_id"] != first["session_id"]


@pytest.mark.parametrize("session_id", ["x", 7, [], "A" * 21, "../../etc", "A" * 20 + "\0"])
def test_a_session_id_that_is_none_of_ours_starts_a_session(
    alice: LibreChat, session_id: Any
) -> None:
    assert is_id(alice.run("print(1)", session_id=session_id)["session_id"])


@pytest.mark.parametrize("profile", ["default", "stateful"])
def test_an_expected_profile_is_confirmed(alice: LibreChat, profile: str) -> None:
    response = alice.post(
        "/exec", {"lang": "py", "code": ""}, headers={"X-CodeAPI-Expected-Profile": profile}
    )
    assert response["X-CodeAPI-Execution-Profile"] == profile
    assert "X-CodeAPI-Execution-Profile" not in alice.exec("")


def test_programmatic_calls_say_that_they_come_later(alice: LibreChat) -> None:
    response = alice.post("/exec/programmatic", {"code": "", "tools": []})
    assert response.status_code == 501
    assert response.json() == {
        "error": "Programmatic tool calling is not supported by this server version"
    }
    assert alice.post("/exec/programmatic/cancel", {"request_id": "1"}).status_code == 404
