"""LibreChat's calls for files, as its releases send them with axios and form-data."""

import random
import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.librechat.client import LibreChat
from tests.librechat.conversation import Conversation
from tests.librechat.process import CallFailed
from tests.librechat.refs import ALICE, Scope, StoredFile
from tests.librechat.releases import SENDING_A_KEY, SENDING_NO_KEY, only

# LibreChat's own download route refuses every other form of an id.
ID = re.compile(r"[A-Za-z0-9_-]{21}")
UNKNOWN = StoredFile("V1StGXR8_Z5jdHi6B-myT", "Zk3pQ0x9aB_7cDeFgHiJ1", "x", Scope("user", ALICE))
SKILL = Scope(kind="skill", id="65f0c0ffee00000000005712", version=1)


def test_an_upload_is_answered_for_old_and_new_releases(librechat: LibreChat) -> None:
    answer = librechat.upload_answer("sales.csv", b"a,b\n")
    assert answer["message"] == "success"
    assert answer["session_id"] == answer["storage_session_id"]
    [file] = answer["files"]
    assert file["filename"] == "sales.csv"
    assert ID.fullmatch(answer["session_id"])
    assert ID.fullmatch(file["fileId"])


@pytest.mark.parametrize(
    "name", ["Übersicht 2026 (1).csv", "日本語.txt", 'a"b.csv', "50%20off.txt", ".hidden"]
)
def test_a_name_comes_back_as_it_was_sent(librechat: LibreChat, name: str) -> None:
    answer = librechat.upload_answer(name, b"x")
    assert answer["files"][0]["filename"] == name


@pytest.mark.parametrize("unknown_length", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("size", [0, 1, 20_000_000], ids=["empty", "one byte", "20 MB"])
def test_a_file_comes_back_byte_for_byte(
    librechat: LibreChat, size: int, unknown_length: bool
) -> None:
    content = random.Random(size).randbytes(size)  # noqa: S311 - the same bytes in every run
    file = librechat.upload("blob.bin", content, unknown_length=unknown_length)
    assert librechat.download(file)[0] == content
    assert librechat.download(file, stream=True)[0] == content


@only(*SENDING_A_KEY)
def test_a_file_of_an_agent_is_found_with_its_label(librechat: LibreChat) -> None:
    file = librechat.upload("a.txt", b"agent's", scope=Scope(entity_id="agent_abc"))
    assert librechat.freshness(file)
    assert librechat.download(file)[0] == b"agent's"


def test_a_fresh_file_is_seen_as_fresh(librechat: LibreChat) -> None:
    """LibreChat uploads again what is missing or older than 23 hours."""
    modified = librechat.freshness(librechat.upload("a.txt", b"a"))
    assert modified
    age = datetime.now(UTC) - datetime.fromisoformat(modified)
    assert timedelta(minutes=-1) < age < timedelta(minutes=5)


def test_a_file_that_does_not_exist_is_reported_as_missing(librechat: LibreChat) -> None:
    with pytest.raises(CallFailed) as failure:
        librechat.freshness(UNKNOWN)
    assert failure.value.status == 404
    assert failure.value.body["error"] in ("Session not found", "File not found")


@only(*SENDING_A_KEY)
def test_a_file_that_is_not_in_the_listing_is_missing(librechat: LibreChat) -> None:
    there = librechat.upload("a.txt", b"a")
    assert librechat.freshness(StoredFile(there.session_id, UNKNOWN.id, "a.txt")) is None


@only(*SENDING_NO_KEY)
def test_the_newest_releases_ask_the_listing_whether_a_file_lives(librechat: LibreChat) -> None:
    file = librechat.upload("a.txt", b"a")
    assert librechat.is_alive(file)
    with pytest.raises(CallFailed) as failure:
        librechat.is_alive(UNKNOWN)
    # Any other status would be taken as "alive".
    assert failure.value.status == 404


def test_a_run_without_outputs_has_an_empty_listing(librechat: LibreChat) -> None:
    answer = Conversation(librechat).run("py", "pass")
    assert librechat.list_files(answer.session_id, "summary") == []
    assert librechat.list_files(answer.session_id, "full") == []


def test_the_listing_of_a_run_has_what_the_clients_read(librechat: LibreChat) -> None:
    answer = Conversation(librechat).run("py", "open('out.tar.gz', 'w').write('x')")
    file_id = answer.generated["out.tar.gz"]["id"]
    [entry] = librechat.list_files(answer.session_id, "full")
    assert entry["name"].startswith(f"{answer.session_id}/{file_id}")
    # How the releases up to 0.8.5 take the id out of the name.
    assert entry["name"].split("/")[1].split(".")[0] == file_id
    assert entry["metadata"]["original-filename"] == "out.tar.gz"
    assert entry["fileId"] == file_id


def test_a_download_is_safe_to_pass_on(librechat: LibreChat) -> None:
    """Up to 0.8.7 LibreChat copies all headers of the answer to its user's browser."""
    page = librechat.upload("page <1>.html", b"<script>alert(1)</script>")
    for stream in (False, True):
        content, headers = librechat.download(page, stream=stream)
        assert content == b"<script>alert(1)</script>"
        assert headers["content-disposition"].startswith("attachment")
        assert headers["x-content-type-options"] == "nosniff"
        assert "html" not in headers["content-type"]
        assert headers["content-length"] == str(len(content))
        assert not {"set-cookie", "content-encoding", "content-security-policy"} & set(headers)
        assert headers["connection"] == "close"


def test_a_missing_file_cannot_be_downloaded(librechat: LibreChat) -> None:
    there = librechat.upload("a.txt", b"a")
    for file in (UNKNOWN, StoredFile(there.session_id, UNKNOWN.id, "a.txt", there.scope)):
        with pytest.raises(CallFailed) as failure:
            librechat.download(file)
        assert failure.value.status == 404


def test_an_output_is_downloaded_with_and_without_its_owner(librechat: LibreChat) -> None:
    conversation = Conversation(librechat)
    answer = conversation.run("py", "open('a.txt', 'w').write('a')")
    file_id = answer.generated["a.txt"]["id"]
    for scope in (Scope(), Scope(kind="user", id=ALICE)):
        file = StoredFile(answer.session_id, file_id, "a.txt", scope)
        assert librechat.download(file)[0] == b"a"


@only(*SENDING_NO_KEY)
@pytest.mark.parametrize("routes", [(), ("files",)], ids=["to 0.8.8", "newest"])
def test_a_deleted_file_is_gone_and_deleting_it_again_is_no_error(
    librechat: LibreChat, routes: tuple[str, ...]
) -> None:
    file = librechat.upload("a.txt", b"a")
    assert librechat.delete(file, *routes) == [200]
    assert librechat.delete(file, *routes) == [404] * (len(routes) or 2)
    for gone in (librechat.freshness, librechat.download):
        with pytest.raises(CallFailed) as failure:
            gone(file)
        assert failure.value.status == 404
    answer = Conversation(librechat, librechat.ref(file)).run("py", "print('runs')")
    assert answer.text == "stdout:\nruns"


@only(*SENDING_NO_KEY)
def test_a_batch_shares_a_session_and_keeps_every_name(librechat: LibreChat) -> None:
    contents = {
        "skills/pdf/SKILL.md": b"# PDF",
        "skills/pdf/references/Formular ä.md": b"forms",
        "skills/pdf/scripts/fill.py": b"print()",
    }
    answer = librechat.upload_batch(contents, SKILL, read_only=True)
    assert (answer["message"], answer["succeeded"], answer["failed"]) == ("success", 3, 0)
    # LibreChat matches these with what it sent, byte for byte.
    assert [file["filename"] for file in answer["files"]] == list(contents)
    assert {file["status"] for file in answer["files"]} == {"success"}
    for file, content in zip(answer["files"], contents.values(), strict=True):
        stored = StoredFile(answer["storage_session_id"], file["fileId"], "", SKILL)
        assert librechat.download(stored)[0] == content
        assert librechat.freshness(stored)


@only(*SENDING_NO_KEY)
@pytest.mark.parametrize(
    "other",
    [
        Scope("skill", SKILL.id, 2),
        Scope("skill", "65f0c0ffee00000000005799", 1),
        Scope("agent", "a"),
    ],
    ids=["version", "id", "kind"],
)
def test_a_skills_file_is_not_found_under_another_identity(
    librechat: LibreChat, other: Scope
) -> None:
    file = librechat.upload_skill({"skills/a/SKILL.md": b"x"}, SKILL)[0]
    strange = StoredFile(file.session_id, file.id, file.name, other)
    for look in (librechat.freshness, librechat.is_alive, librechat.download):
        with pytest.raises(CallFailed) as failure:
            look(strange)
        assert failure.value.status == 404


@only(*SENDING_NO_KEY)
def test_a_skill_without_its_version_is_refused(librechat: LibreChat) -> None:
    with pytest.raises(CallFailed) as failure:
        librechat.upload_batch({"skills/a/SKILL.md": b"x"}, Scope("skill", "s1"))
    assert failure.value.status == 400
    assert "version" in failure.value.body["error"]
