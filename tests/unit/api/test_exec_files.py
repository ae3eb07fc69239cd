"""Protocol §12 items 8 to 11, 13 and 14, and the one rule of §10."""

from __future__ import annotations

from typing import Any

from audit.ids import is_id, new_id
from tests.unit.api.librechat import LibreChat, new_ref, old_ref

READ = "print(open('sales.csv').read(), end='')"


def named(answer: dict[str, Any], name: str) -> dict[str, Any]:
    return next(file for file in answer["files"] if file["name"] == name)


def test_an_old_ref_is_read_and_not_listed(alice: LibreChat) -> None:
    uploaded = alice.upload(("sales.csv", b"a,b\n1,2\n"))
    answer = alice.run(READ, files=[old_ref(uploaded)])
    assert answer["stdout"] == "a,b\n1,2\n"
    assert answer["files"] == []


def test_a_new_ref_comes_back_as_inherited_and_as_it_was(alice: LibreChat) -> None:
    uploaded = alice.upload(("sales.csv", b"1"))
    ref = new_ref(uploaded, kind="skill", resource_id="s9", version=4, unknown=["x"])
    answer = alice.run(READ, files=[ref])
    assert answer["files"] == [
        {
            "id": ref["id"],
            "name": "sales.csv",
            "session_id": uploaded["session_id"],
            "storage_session_id": uploaded["session_id"],
            "kind": "skill",
            "resource_id": "s9",
            "version": 4,
            "inherited": True,
            "size": 1,
            "contentType": "text/csv",
        }
    ]


def test_an_inherited_file_gets_no_scope_that_the_ref_had_not(alice: LibreChat) -> None:
    uploaded = alice.upload(("sales.csv", b"1"))
    ref = {key: value for key, value in new_ref(uploaded).items() if key != "kind"}
    ref.pop("resource_id")
    [file] = alice.run(READ, files=[ref], user_id="u1")["files"]
    assert not {"kind", "resource_id", "version", "entity_id"} & file.keys()


def test_both_kinds_of_ref_in_one_request_keep_to_their_own_rule(alice: LibreChat) -> None:
    uploaded = alice.upload(("a.txt", b"a"), ("b.txt", b"b"))
    answer = alice.run("", files=[old_ref(uploaded, 0), new_ref(uploaded, 1)])
    assert [file["name"] for file in answer["files"]] == ["b.txt"]


def test_a_changed_input_is_a_new_file_that_names_the_old_one(alice: LibreChat) -> None:
    uploaded = alice.upload(("notes.txt", b"b\na\n"))
    answer = alice.run("sort -o notes.txt notes.txt", "bash", files=[new_ref(uploaded)])
    [file] = answer["files"]
    assert file["name"] == "notes.txt"
    assert is_id(file["id"])
    assert file["id"] != uploaded["files"][0]["id"]
    assert file["session_id"] == file["storage_session_id"] == answer["session_id"]
    assert "inherited" not in file
    assert file["modified_from"] == {
        "id": uploaded["files"][0]["id"],
        "session_id": uploaded["session_id"],
        "storage_session_id": uploaded["session_id"],
    }
    assert alice.download(file) == b"a\nb\n"
    assert alice.download(uploaded["files"][0] | {"session_id": uploaded["session_id"]}) == (
        b"b\na\n"
    )


def test_the_same_bytes_written_again_are_no_change(alice: LibreChat) -> None:
    uploaded = alice.upload(("a.txt", b"same"))
    answer = alice.run(
        "touch a.txt; printf same > new; cat new > a.txt; rm new", "bash", files=[new_ref(uploaded)]
    )
    assert [file.get("inherited") for file in answer["files"]] == [True]


def test_a_read_only_input_stays_as_it_was(alice: LibreChat) -> None:
    uploaded = alice.upload(
        ("skill.md", b"original"), kind="skill", id="s", version="1", read_only="true"
    )
    ref = new_ref(uploaded, kind="skill", resource_id="s", version=1)
    answer = alice.run("rm -f skill.md; echo changed > skill.md", "bash", files=[ref])
    [file] = answer["files"]
    assert (file["inherited"], file["id"]) == (True, ref["id"])
    assert alice.run("cat skill.md", "bash", files=[ref])["stdout"] == "original"


def test_generated_files_come_first_and_belong_to_the_runs_session(alice: LibreChat) -> None:
    uploaded = alice.upload(("a.txt", b"a"))
    code = "mkdir -p out/a; printf b > out/a/b.png; printf é > 'Übersicht 2.txt'"
    answer = alice.run(code, "bash", files=[new_ref(uploaded)], user_id="u7")
    assert [file.get("inherited", False) for file in answer["files"]] == [False, False, True]
    nested = named(answer, "out/a/b.png")
    assert nested["session_id"] == nested["storage_session_id"] == answer["session_id"]
    assert (nested["kind"], nested["resource_id"]) == ("user", "u7")
    assert (nested["size"], nested["contentType"]) == (1, "image/png")
    assert "modified_from" not in nested
    assert alice.download(nested) == b"b"
    assert alice.download(nested, kind="user", id="somebody") == b"b"
    assert alice.download(named(answer, "Übersicht 2.txt")) == "é".encode()


def test_an_output_without_a_known_user_has_no_scope(alice: LibreChat) -> None:
    [file] = alice.run("open('a', 'w')")["files"]
    assert not {"kind", "resource_id"} & file.keys()


def test_an_output_is_the_next_runs_input_under_either_key(alice: LibreChat) -> None:
    first = alice.run("open('n.txt', 'w').write('x')")
    output = first["files"][0]
    for location in (
        {"session_id": first["session_id"]},
        {"storage_session_id": output["storage_session_id"]},
    ):
        ref = {"id": output["id"], "name": "n.txt"} | location
        assert alice.run("print(open('n.txt').read())", files=[ref])["stdout"] == "x\n"


def test_the_refs_name_wins(alice: LibreChat) -> None:
    uploaded = alice.upload(("My Sales (1).csv", b"1"))
    answer = alice.run(
        "print(open('dir/sales.csv').read())", files=[new_ref(uploaded, name="dir/sales.csv")]
    )
    assert answer["stdout"] == "1\n"
    assert answer["files"][0]["name"] == "dir/sales.csv"


def test_of_two_refs_with_one_name_the_last_wins(alice: LibreChat) -> None:
    uploaded = alice.upload(("sales.csv", b"old"), ("b.csv", b"new"))
    refs = [new_ref(uploaded, 0), new_ref(uploaded, 1, name="sales.csv")]
    answer = alice.run(READ, files=refs)
    assert answer["stdout"] == "new"
    assert [file["id"] for file in answer["files"]] == [uploaded["files"][1]["id"]]


def test_a_stale_ref_means_the_fresh_file_of_that_name(alice: LibreChat) -> None:
    alice.upload(("sales.csv", b"fresh"))
    stale = {"id": new_id(), "session_id": new_id(), "name": "sales.csv"}
    answer = alice.run(READ, files=[stale], user_id="u1")
    assert (answer["stdout"], answer["stderr"]) == ("fresh", "")


def test_a_ref_to_nothing_is_passed_over_in_silence(alice: LibreChat) -> None:
    for ref in (
        {"id": new_id(), "session_id": new_id(), "name": "gone.csv"},
        {"id": "00000000-0000-0000-0000-000000000000", "session_id": "x", "name": "gone.csv"},
        {"name": "gone.csv"},
        {},
    ):
        answer = alice.run("print('went on')", files=[ref])
        assert (answer["stdout"], answer["stderr"], answer["files"]) == ("went on\n", "", [])


def test_another_keys_file_is_a_ref_to_nothing(alice: LibreChat, bob: LibreChat) -> None:
    uploaded = alice.upload(("sales.csv", b"secret"))
    for ref in (old_ref(uploaded), new_ref(uploaded)):
        answer = bob.run("import os; print(os.listdir())", files=[ref], user_id="u1")
        assert "sales.csv" not in answer["stdout"]
        assert answer["files"] == []


def test_an_uploads_session_is_never_continued(alice: LibreChat) -> None:
    """LibreChat sends a shared skill's session as `session_id` until the first run."""
    uploaded = alice.upload(("skill.md", b"x"), kind="skill", id="s", version="1")
    answer = alice.run("open('private', 'w').write('x')", session_id=uploaded["session_id"])
    assert answer["session_id"] != uploaded["session_id"]
    listed = alice.get(f"/files/{uploaded['session_id']}?detail=full").json()
    assert [file["filename"] for file in listed] == ["skill.md"]


def test_a_run_that_an_old_ref_names_brings_its_inputs_along(alice: LibreChat) -> None:
    """LibreChat 0.8.2 to 0.8.5 sends the outputs of a run in place of the uploads (§14.1)."""
    uploaded = alice.upload(("sales.csv", b"1,2\n"))
    first = alice.run("open('out.txt', 'w').write('x')", files=[old_ref(uploaded)])
    output = {"id": first["files"][0]["id"], "session_id": first["session_id"], "name": "out.txt"}
    assert alice.run(READ, files=[output])["stdout"] == "1,2\n"


def test_a_removed_input_is_named(alice: LibreChat) -> None:
    uploaded = alice.upload(("a.txt", b"a"), ("b.txt", b"b"))
    answer = alice.run(
        "import os; os.remove('a.txt')", files=[new_ref(uploaded, 0), new_ref(uploaded, 1)]
    )
    assert answer["deleted_files"] == ["a.txt"]
    assert [file["name"] for file in answer["files"]] == ["b.txt"]
    assert "deleted_files" not in alice.run("")


def test_what_was_left_out_is_counted(alice: LibreChat, settings: Any) -> None:
    settings.SANDBOX_MAX_OUTPUT_FILES = 3
    settings.SANDBOX_MAX_DEPTH = 2
    code = "for i in 1 2 3 4 5; do echo $i > f$i.txt; done; mkdir -p a/b/c/d; echo > a/b/c/d/deep"
    answer = alice.run(code, "bash")
    assert len(answer["files"]) == 3
    note = answer["artifact_truncation"]
    assert note["code"] == "artifact_truncated"
    assert sum(note["reasons"].values()) == note["skipped_count"]
    assert note["reasons"]["max_files"] == 2
    assert note["reasons"]["depth"] == 1
    assert len(note["skipped"]) <= 20
    assert "artifact_truncation" not in alice.run("")


def test_files_of_a_failed_run_are_there_too(alice: LibreChat) -> None:
    answer = alice.run("open('kept.txt', 'w').write('x')\nraise SystemExit(3)")
    assert (answer["code"], answer["files"][0]["name"]) == (3, "kept.txt")
    assert alice.download(answer["files"][0]) == b"x"
