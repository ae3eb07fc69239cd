"""Protocol §12 item 17: what LibreChat's own tools run, as bash (§5.2)."""

from __future__ import annotations

import base64
import json

import pytest

from tests.unit.api.librechat import LibreChat, new_ref

WRITE = """python3 - <<'PY'
import base64, json, os
asked = json.loads(base64.b64decode("{payload}"))
data = asked["content"].encode()
os.makedirs(os.path.dirname(asked["path"]) or ".", exist_ok=True)
with open(asked["path"], "wb") as file:
    file.write(data)
print(f"WROTE {{len(data)}} bytes to {{asked['path']}}")
PY"""
IMAGE_CHUNK = """python3 - <<'PY'
import base64, json
with open("photo.png", "rb") as file:
    file.seek({offset})
    chunk = file.read({length})
    size = file.seek(0, 2)
print(json.dumps({{"size": size, "data": base64.b64encode(chunk).decode()}}))
PY"""


@pytest.mark.parametrize(
    "content", ["with a newline\n", "without", "", "\n\n", "ä\t\r\n" * 60_000], ids=lambda c: len(c)
)
def test_reading_a_file_gives_exactly_its_text(alice: LibreChat, content: str) -> None:
    uploaded = alice.upload(("it's.txt", content.encode()))
    answer = alice.run("cat 'it'\\''s.txt'", "bash", files=[new_ref(uploaded)])
    assert (answer["stdout"], answer["stderr"]) == (content, "")


def test_reading_a_file_that_is_not_there_says_so_in_english(alice: LibreChat) -> None:
    answer = alice.run("cat 'nothing.txt'", "bash")
    assert answer["stdout"] == ""
    assert "No such file or directory" in answer["stderr"]


def test_writing_a_file_returns_it(alice: LibreChat) -> None:
    content = "line\n" * 100_000
    payload = base64.b64encode(json.dumps({"path": "new/dir/a.txt", "content": content}).encode())
    answer = alice.run(WRITE.format(payload=payload.decode()), "bash")
    assert (answer["stdout"], answer["stderr"]) == ("WROTE 500000 bytes to new/dir/a.txt\n", "")
    [file] = answer["files"]
    assert file["name"] == "new/dir/a.txt"
    assert alice.download(file) == content.encode()


@pytest.mark.parametrize("window", [32 * 1024, 48_960])
def test_an_image_is_read_in_windows(alice: LibreChat, window: int) -> None:
    image = bytes(range(256)) * 500
    uploaded = alice.upload(("photo.png", image))
    read = b""
    while len(read) < len(image):
        code = IMAGE_CHUNK.format(offset=len(read), length=window)
        answer = alice.run(code, "bash", files=[new_ref(uploaded)])
        assert (answer["stderr"], answer["status"]) == ("", None)
        chunk = json.loads(answer["stdout"].splitlines()[-1])
        assert chunk["size"] == len(image)
        read += base64.b64decode(chunk["data"])
    assert read == image


def test_the_prewarming_call_is_quiet(alice: LibreChat) -> None:
    answer = alice.run("true", "bash", runtime_session_hint="conversation")
    assert (answer["stdout"], answer["stderr"], answer["code"]) == ("", "", 0)
