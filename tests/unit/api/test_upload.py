"""Protocol §12 items 7 and 15."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django import Settings

from audit.ids import is_id
from audit.models import SandboxFile, SandboxSession
from sandbox.api.uploads import stored_name
from tests.unit.api.librechat import BOUNDARY, FORM, LibreChat, form_data, new_ref

MB = 1024 * 1024


def stored(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "fields",
    [
        {"entity_id": "agent_abc"},
        {},
        {"kind": "user", "id": "u1"},
        {"kind": "agent", "id": "agent_abc"},
        {"kind": "skill", "id": "s", "version": "3"},
    ],
)
def test_every_versions_upload_gets_every_versions_answer(
    alice: LibreChat, fields: dict[str, str]
) -> None:
    answer = alice.upload(("sales.csv", b"a,b\n"), **fields)
    [file] = answer.pop("files")
    assert is_id(file["id"])
    assert answer == {
        "message": "success",
        "session_id": answer["session_id"],
        "storage_session_id": answer["session_id"],
    }
    assert file == {
        "fileId": file["id"],
        "id": file["id"],
        "filename": "sales.csv",
        "name": "sales.csv",
        "size": 4,
    }
    session = SandboxSession.objects.get(pk=answer["session_id"])
    assert (session.kind, session.resource_id) == (fields.get("kind", ""), fields.get("id", ""))
    assert session.entity_id == fields.get("entity_id", "")
    assert session.user_id == "u1"
    assert alice.download(file | answer) == b"a,b\n"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("Übersicht 2026 (1).csv", "Übersicht 2026 (1).csv"),
        ("日本語.txt", "日本語.txt"),
        ("skills/pdf/references/x.md", "skills/pdf/references/x.md"),
        ("100%20 &amp; more.txt", "100%20 &amp; more.txt"),
        ('a"b.csv', 'a"b.csv'),
        ('a";b.csv', 'a";b.csv'),
        ('x"; filename="y.txt', 'x"; filename="y.txt'),
        ("a;b=c.csv", "a;b=c.csv"),
        ("a\\b.csv", "a_b.csv"),
        ("C:\\Users\\me\\a.csv", "C:_Users_me_a.csv"),
        ("  spaces  ", "  spaces  "),
        ("/etc/passwd", "etc/passwd"),
        ("../../a/./b//c.txt", "a/b/c.txt"),
        ("..", "file"),
        ("tab\there.txt", "tab_here.txt"),
        (".hidden", ".hidden"),
        ("ä" * 200 + ".csv", "ä" * 125 + ".csv"),
        ("no-extension" * 40, ("no-extension" * 40)[:255]),
    ],
)
def test_a_name_is_echoed_as_sent_and_kept_as_near_as_can_be(
    alice: LibreChat, sent: str, kept: str
) -> None:
    [file] = alice.upload((sent, b"x"))["files"]
    assert file["filename"] == sent
    assert file["name"] == kept
    assert SandboxFile.objects.get().name == kept


def test_a_name_too_long_for_any_workspace_is_cut() -> None:
    name = "/".join(["directory" * 20] * 10) + "/a.csv"
    assert stored_name(name) == "a.csv"
    assert stored_name("\ud800.txt") == "_.txt"
    assert stored_name('quoted \\"by curl\\".txt') == 'quoted "by curl".txt'


def test_names_may_come_percent_encoded_or_in_another_order(alice: LibreChat) -> None:
    for line, name in (
        (b"name=\"f\"; filename*=UTF-8''%C3%9Cbersicht.csv", "Übersicht.csv"),
        (b'name="f"; filename="U.csv"; filename*=UTF-8\'\'%C3%9C.csv', "Ü.csv"),
        (b'filename="a.csv"; name="anything"', "a.csv"),
        (b"name=f; filename=plain.csv", "plain.csv"),
        (b'name="f"; filename="caf\xe9.csv"', "caf�.csv"),
    ):
        body = b"\r\n".join(
            [
                b"--" + BOUNDARY.encode(),
                b"content-disposition: form-data; " + line,
                b"",
                b"bytes",
                b"--" + BOUNDARY.encode() + b"--",
                b"",
            ]
        )
        response = alice.post("/upload", body, content_type=FORM)
        assert response.status_code == 200, response.content
        assert response.json()["files"][0]["filename"] == name


def test_fields_may_come_after_the_file_and_parts_have_any_name(alice: LibreChat) -> None:
    file = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="any"; filename="a"\r\n\r\n1\r\n'
    fields = form_data(fields={"kind": "agent", "id": "agent_1"})
    response = alice.post("/upload", file.encode() + fields, content_type=FORM)
    assert response.status_code == 200
    assert SandboxSession.objects.get().resource_id == "agent_1"


def test_an_empty_file_and_several_files_share_one_session(alice: LibreChat) -> None:
    answer = alice.upload(("empty", b""), ("b.bin", bytes(range(256)) * 1000))
    assert [file["size"] for file in answer["files"]] == [0, 256_000]
    assert alice.download(answer["files"][0] | {"session_id": answer["session_id"]}) == b""
    assert SandboxSession.objects.count() == 1


def test_a_large_file_arrives_whole(alice: LibreChat) -> None:
    content = b"0123456789abcde\n" * (2 * MB)
    [file] = (answer := alice.upload(("large", content)))["files"]
    assert file["size"] == 32 * MB
    assert alice.download(file | {"session_id": answer["session_id"]}) == content


def test_one_byte_over_the_limit_leaves_nothing_behind(
    alice: LibreChat, settings: Settings, store_dir: Path
) -> None:
    settings.SANDBOX_UPLOAD_MB = 1
    response = alice.post_form("/upload", ("ok.txt", b"x"), ("big", b"x" * (MB + 1)))
    assert (response.status_code, response.json()) == (413, {"error": "File size limit exceeded"})
    assert not stored(store_dir)
    assert not SandboxSession.objects.exists()
    assert alice.upload(("exact", b"x" * MB))["files"][0]["size"] == MB


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"kind": "team", "id": "x"}, "kind must be one of: skill, agent, user"),
        ({"kind": "skill", "id": "x"}, "version must be an integer for kind skill"),
        (
            {"kind": "skill", "id": "x", "version": "new"},
            "version must be an integer for kind skill",
        ),
        ({"kind": "user", "id": "x", "version": "1"}, "version is only allowed for kind skill"),
        ({"kind": "agent"}, "id is required for kind agent"),
    ],
)
def test_a_scope_that_is_incomplete_is_refused_and_leaves_nothing(
    alice: LibreChat, fields: dict[str, str], error: str, store_dir: Path
) -> None:
    for path in ("/upload", "/upload/batch"):
        response = alice.post_form(path, ("a", b"x"), **fields)
        assert (response.status_code, response.json()) == (400, {"error": error})
    assert not stored(store_dir)


def test_no_file_is_a_400(alice: LibreChat) -> None:
    for path in ("/upload", "/upload/batch"):
        for body in (b"", form_data(fields={"entity_id": "x"})):
            response = alice.post(path, body, content_type=FORM, CONTENT_TYPE=FORM)
            assert (response.status_code, response.json()) == (400, {"error": "No files provided"})


@pytest.mark.parametrize("cut", [1, 10, 60, 200, 245])
def test_a_body_that_ends_early_leaves_nothing(alice: LibreChat, cut: int, store_dir: Path) -> None:
    body = form_data(("a.txt", b"a"), ("b.txt", b"b"), fields={})
    response = alice.post("/upload", body[: len(body) - cut], content_type=FORM)
    assert response.status_code == (200 if cut <= 2 else 400)
    if cut > 2:
        assert response.json()["error"] == "Invalid request"
        assert not stored(store_dir)
        assert not SandboxSession.objects.exists()


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=ä"],
)
def test_a_boundary_that_is_none_is_a_400(alice: LibreChat, content_type: str) -> None:
    response = alice.post("/upload", b"x", content_type=content_type)
    assert (response.status_code, response.json()["error"]) == (400, "Invalid request")


def test_a_full_disk_is_a_503_and_leaves_no_row(alice: LibreChat, settings: Settings) -> None:
    settings.SANDBOX_STORE_DIR = Path("/proc/no-files-can-be-made-here")
    response = alice.post_form("/upload", ("a", b"x"))
    assert (response.status_code, response.json()) == (503, {"error": "File store unavailable"})
    assert not SandboxSession.objects.exists()


def test_a_batch_answers_for_each_file_in_order(alice: LibreChat, settings: Settings) -> None:
    settings.SANDBOX_UPLOAD_MB = 1
    names = ["skills/p/SKILL.md", "skills/p/ä b.md", "skills/p/big", "skills/p/z.md"]
    files = [(name, b"x" * (2 * MB if name.endswith("big") else 3)) for name in names]
    response = alice.post_form(
        "/upload/batch", *files, kind="skill", id="s", version="2", read_only="true"
    )
    assert response.status_code == 200
    answer = response.json()
    assert answer["message"] == "partial_success"
    assert (answer["succeeded"], answer["failed"]) == (3, 1)
    assert answer["session_id"] == answer["storage_session_id"]
    assert [file["filename"] for file in answer["files"]] == names
    assert answer["files"][2] == {
        "status": "error",
        "filename": "skills/p/big",
        "error": "File size limit exceeded",
    }
    kept = {file.name: file.pk for file in SandboxFile.objects.all()}
    assert {
        file["filename"]: file["fileId"] for file in answer["files"] if file["status"] == "success"
    } == kept
    assert SandboxFile.objects.filter(read_only=True).count() == 3


def test_a_whole_batch_is_a_success(alice: LibreChat) -> None:
    answer = alice.post_form("/upload/batch", ("a", b"1"), ("b", b"2")).json()
    assert (answer["message"], answer["succeeded"], answer["failed"]) == ("success", 2, 0)
    ref = new_ref({"files": [answer["files"][1]], **{"storage_session_id": answer["session_id"]}})
    assert alice.run("print(open('b').read())", files=[ref])["stdout"] == "2\n"


def test_a_batch_of_failures_is_a_400(
    alice: LibreChat, settings: Settings, store_dir: Path
) -> None:
    settings.SANDBOX_UPLOAD_MB = 1
    response = alice.post_form("/upload/batch", ("a", b"x" * (MB + 1)))
    assert response.status_code == 400
    answer = response.json()
    assert (answer["message"], answer["failed"]) == ("error", 1)
    assert answer["error"] == "File size limit exceeded"
    assert not stored(store_dir)
    assert not SandboxSession.objects.exists()


def test_of_a_batch_over_200_files_the_first_200_are_kept(alice: LibreChat) -> None:
    files = [(f"f{number}", b"") for number in range(203)]
    answer = alice.post_form("/upload/batch", *files).json()
    assert len(answer["files"]) == answer["succeeded"] == SandboxFile.objects.count() == 200
    assert (answer["filesLimitReached"], answer["maxFiles"]) == (True, 200)
    assert alice.post_form("/upload", *files).status_code == 400
