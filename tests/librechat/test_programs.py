import json

import pytest

from tests.librechat.client import LibreChat
from tests.librechat.conftest import Connect
from tests.librechat.conversation import Conversation
from tests.librechat.releases import (
    NEWEST,
    RELEASES,
    SENDING_NO_KEY,
    V0_8_0,
    V0_8_5,
    V0_8_7,
    Release,
    only,
)


def test_a_python_program_answers_with_its_output(librechat: LibreChat) -> None:
    answer = Conversation(librechat).run("py", "print('Grüße', 6 * 7)")
    assert answer.text == "stdout:\nGrüße 42"
    assert not answer.files


def test_a_javascript_program_answers_with_its_output(librechat: LibreChat) -> None:
    answer = Conversation(librechat).run("js", "console.log([1, 2].map((n) => n * 21))")
    assert answer.text == "stdout:\n[ 21, 42 ]"


@only(V0_8_5, *SENDING_NO_KEY)
def test_a_bash_program_answers_with_its_output(librechat: LibreChat) -> None:
    answer = Conversation(librechat).run(
        "bash", "python3 - <<'EOF'\nprint(6 * 7)\nEOF\necho '{\"a\": [1]}' | jq -c .a; pwd"
    )
    assert answer.text == "stdout:\n42\n[1]\n/mnt/data"


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("py", "import json, sys\nprint(json.dumps(sys.argv[1:]))"),
        ("js", "console.log(JSON.stringify(process.argv.slice(2)))"),
    ],
    ids=["py", "js"],
)
def test_arguments_reach_the_program(librechat: LibreChat, language: str, code: str) -> None:
    args = ["--city", "São Paulo", "a'b", ""]
    answer = Conversation(librechat).run(language, code, args)
    assert json.loads(answer.text.removeprefix("stdout:\n")) == args


@only(*SENDING_NO_KEY)
def test_arguments_reach_a_bash_program(librechat: LibreChat) -> None:
    answer = Conversation(librechat).run("bash", 'printf "<%s>" "$@"', ["one two", "$HOME"])
    assert answer.text == "stdout:\n<one two><$HOME>"


def test_an_exception_is_shown_to_the_model_with_what_was_printed_before(
    librechat: LibreChat,
) -> None:
    answer = Conversation(librechat).run("py", "print('before')\n1 / 0")
    assert not answer.failed
    assert answer.text.startswith("stdout:\nbefore\n")
    assert "ZeroDivisionError: division by zero" in answer.text
    assert "line 2, in <module>" in answer.text
    assert answer.session_id


def test_a_syntax_error_is_shown_to_the_model(librechat: LibreChat) -> None:
    answer = Conversation(librechat).run("py", "print('never'\n")
    assert not answer.failed
    assert "SyntaxError" in answer.text


def test_silence_is_named_as_such_and_nothing_is_added_to_it(librechat: LibreChat) -> None:
    answer = Conversation(librechat).run("py", "pass")
    assert answer.text == "stdout: Empty. Ensure you're writing output explicitly."
    assert answer.session_id


def test_a_program_that_never_ends_is_stopped_and_the_model_learns_why(
    librechat: LibreChat,
) -> None:
    answer = Conversation(librechat, timeout=3000).run(
        "py", "print('started', flush=True)\nwhile True: pass"
    )
    assert not answer.failed
    assert "stdout:\nstarted\n" in answer.text
    assert "[sandbox] Time limit exceeded" in answer.text


def test_the_run_after_a_stopped_one_is_unaffected(librechat: LibreChat) -> None:
    stopped = Conversation(librechat, timeout=2000)
    assert "Time limit" in stopped.run("py", "import os\nos.fork()\nwhile True: pass").text
    assert Conversation(librechat).run("py", "print('well')").text == "stdout:\nwell"


@only(V0_8_5, *SENDING_NO_KEY)
def test_calls_of_one_answer_run_side_by_side(librechat: LibreChat) -> None:
    conversation = Conversation(librechat)
    codes = [f"open('{n}.txt', 'w').write('{n}'); print({n})" for n in range(3)]
    answers = conversation.call(*[("execute_code", {"lang": "py", "code": code}) for code in codes])
    assert [answer.text.splitlines()[1] for answer in answers] == ["0", "1", "2"]
    assert len({answer.session_id for answer in answers}) == 3
    assert [conversation.delivered(answer) for answer in answers] == [
        {"0.txt": b"0"},
        {"1.txt": b"1"},
        {"2.txt": b"2"},
    ]
    everything = conversation.run("py", "import glob\nprint(sorted(glob.glob('*.txt')))")
    assert everything.text == "stdout:\n['0.txt', '1.txt', '2.txt']"


REFUSALS = {
    V0_8_0: "HTTP error! status: {status}",
    V0_8_5: "HTTP error! status: {status}",
    V0_8_7: "returned {status}, body: ",
}


def test_a_language_that_is_not_installed_is_refused(librechat: LibreChat) -> None:
    answer = Conversation(librechat).run("f90", "print *, 1")
    assert answer.failed
    rejected = "The code execution request was rejected. Please check the tool input and try again."
    assert REFUSALS.get(librechat.release, rejected).format(status=400) in answer.text
    if librechat.release == V0_8_7:
        assert '"Unsupported language: f90"' in answer.text


@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_a_wrong_key_is_refused_in_the_clients_words(
    release: Release, live_server_url: str, connect: Connect
) -> None:
    base_url = release.base_url(live_server_url, "not-a-key")
    client = connect(release, base_url, "not-a-key" if release.sends_key else "")
    answer = Conversation(client).run("py", "print('never')")
    assert answer.failed
    unauthorized = "Code execution is not authorized. Verify access before trying again."
    assert REFUSALS.get(release, unauthorized).format(status=401) in answer.text
    assert "never" not in answer.text


def test_a_release_that_sends_no_key_is_told_what_to_do(
    live_server_url: str, connect: Connect
) -> None:
    answer = Conversation(connect(V0_8_7, live_server_url, "")).run("py", "print('never')")
    assert answer.failed
    # 0.8.7 shows the model the whole body, which is how an operator comes to see the hint.
    assert "returned 401" in answer.text
    assert '"message"' in answer.text


@only(NEWEST)
def test_a_stateful_agent_finds_its_files_and_its_runtime_again(librechat: LibreChat) -> None:
    hint = "conversation:stateful-1"
    first = Conversation(librechat, runtimeSessionHint=hint).run("bash", "echo kept > note.txt")
    second = Conversation(librechat, runtimeSessionHint=hint).run("bash", "cat note.txt")
    assert second.text.startswith("stdout:\nkept")
    assert first.artifact["runtime_session_id"] == second.artifact["runtime_session_id"]
    assert (first.artifact["runtime_status"], second.artifact["runtime_status"]) == (
        "new",
        "reused",
    )
