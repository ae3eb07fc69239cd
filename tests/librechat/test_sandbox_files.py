"""LibreChat's read_file, create_file and image reader: small bash programs that it runs."""

import random

import pytest

from tests.librechat.client import LibreChat
from tests.librechat.process import CallFailed
from tests.librechat.releases import SENDING_NO_KEY, only

pytestmark = only(*SENDING_NO_KEY)


@pytest.mark.parametrize(
    "text",
    ["one\ntwo\n", "no newline at the end", "", "\n\n", "\r\n\ttab\x7f\x00\x1b[0m", "ü 日本 🙂\n"],
    ids=["lines", "no newline", "empty", "newlines", "controls", "unicode"],
)
def test_a_file_is_read_exactly(librechat: LibreChat, text: str) -> None:
    file = librechat.upload("note.txt", text.encode())
    assert librechat.read_text("/mnt/data/note.txt", librechat.ref(file)) == text


def test_a_file_of_300_kb_is_read_exactly(librechat: LibreChat) -> None:
    text = "".join(f"{number:07d}\n" for number in range(300_000 // 8))
    file = librechat.upload("long.txt", text.encode())
    assert librechat.read_text("/mnt/data/long.txt", librechat.ref(file)) == text


def test_a_name_with_quotes_and_spaces_is_read(librechat: LibreChat) -> None:
    file = librechat.upload("it's a file.txt", b"content")
    assert librechat.read_text("/mnt/data/it's a file.txt", librechat.ref(file)) == "content"


def test_a_missing_file_is_reported_in_words_that_librechat_recognises(
    librechat: LibreChat,
) -> None:
    with pytest.raises(CallFailed, match="No such file or directory"):
        librechat.read_text("/mnt/data/absent.txt")


def test_reading_names_the_input_as_inherited(librechat: LibreChat) -> None:
    file = librechat.upload("note.txt", b"x")
    answer = librechat.run_bash("cat note.txt", librechat.ref(file))
    assert answer["stderr"] == ""
    assert [(entry["id"], entry["inherited"]) for entry in answer["files"]] == [(file.id, True)]


@pytest.mark.parametrize(
    "text",
    ["print('hi')\n", "", "ü 日本 🙂 $HOME `date` 'PY'\nPY\n", "x" * 10_000_000],
    ids=["code", "empty", "shell characters", "10 MB"],
)
def test_a_written_file_is_there_in_the_next_call(librechat: LibreChat, text: str) -> None:
    answer = librechat.write_text("/mnt/data/src/app/main.txt", text)
    assert answer["stdout"] == f"WROTE {len(text.encode())} bytes to /mnt/data/src/app/main.txt\n"
    assert answer["stderr"] == ""
    [file] = answer["files"]
    assert file["name"] == "src/app/main.txt"
    code = "wc -c < src/app/main.txt; sha256sum src/app/main.txt"
    through_ref = librechat.run_bash(code, file)
    through_session = librechat.run_bash(code, sessionId=answer["session_id"])
    assert through_ref["stdout"] == through_session["stdout"]
    assert through_ref["stdout"].splitlines()[0] == str(len(text.encode()))


def test_an_edit_replaces_the_file_and_is_delivered(librechat: LibreChat) -> None:
    file = librechat.upload("note.txt", b"before")
    answer = librechat.write_text("/mnt/data/note.txt", "after", librechat.ref(file))
    [edited] = answer["files"]
    assert edited["modified_from"]["id"] == file.id
    assert librechat.read_text("/mnt/data/note.txt", edited) == "after"


# 32 KiB up to 0.8.8; the newest fill 64 KiB of stdout with base64.
@pytest.mark.parametrize("window", [32 * 1024, 48_960])
def test_an_image_is_read_exactly_in_windows(librechat: LibreChat, window: int) -> None:
    image = random.Random(1).randbytes(200_001)  # noqa: S311 - the same bytes in every run
    file = librechat.upload("chart.png", image)
    content, calls = librechat.read_image("/mnt/data/chart.png", window, librechat.ref(file))
    assert content == image
    assert calls == -(-len(image) // window)


def test_an_image_of_an_earlier_run_is_read_by_its_session(librechat: LibreChat) -> None:
    written = librechat.run_bash("printf '\\x89PNG\\r\\n\\xff\\x00' > chart.png")
    content, _ = librechat.read_image(
        "/mnt/data/chart.png", 32 * 1024, sessionId=written["session_id"]
    )
    assert content == b"\x89PNG\r\n\xff\x00"
