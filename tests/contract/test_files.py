"""Files in and out: the same tests on the fake and on the real engine."""

from __future__ import annotations

import hashlib

from tests.containers import MB, Sandbox


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_files_arrive_as_they_are(sandbox: Sandbox) -> None:
    files = {
        "a.bin": bytes(range(256)) * 5000,
        "empty.txt": b"",
        "dir/sub dir/größe 😀.csv": b"a,b\n",
        "dir/x": b"y" * (MB + 1),
    }
    sandbox.put(files)
    assert sandbox.files() == files
    assert sandbox.bash("cat 'dir/sub dir/größe 😀.csv'; wc -c < dir/x") == "a,b\n1048577\n"


def test_many_files_arrive(sandbox: Sandbox) -> None:
    files = {f"d{i % 7}/f{i}": f"{i}".encode() for i in range(100)}
    sandbox.put(files)
    assert sandbox.files() == files


def test_modes_say_what_may_be_executed_and_written(sandbox: Sandbox) -> None:
    sandbox.put({"plain": b""})
    sandbox.put({"program": b"#!/bin/sh\necho ran\n"}, executable=True)
    sandbox.put({"input": b""}, read_only=True)
    modes = sandbox.bash("./program; find plain program input -printf '%m\\n'")
    assert modes == "ran\n644\n755\n444\n"
    executable = {entry.name for entry in sandbox.collect()[0].entries if entry.executable}
    assert executable == {"program"}


def test_what_has_a_files_name_is_replaced(sandbox: Sandbox) -> None:
    sandbox.bash(
        "echo old > file; mkdir -p dir/deep/er; touch dir/deep/er/x; mkfifo fifo;"
        "echo untouched > target; ln -s target link; ln -s /nowhere dangling; chmod 555 dir/deep;"
        "echo in the way > parent; ln -s dir linked"
    )
    names = ["file", "dir", "fifo", "link", "dangling", "parent/child", "linked/child"]
    sandbox.put({name: name.encode() for name in names})
    assert sandbox.files() == {name: name.encode() for name in names} | {"target": b"untouched\n"}


def test_a_tree_of_any_depth_is_replaced(sandbox: Sandbox) -> None:
    code = "import os\nos.mkdir('deep'); os.chdir('deep')\n"
    sandbox.output(code + "for _ in range(1500): os.mkdir('d'); os.chdir('d')")
    sandbox.put({"deep": b"now a file"})
    assert sandbox.files() == {"deep": b"now a file"}
    assert sandbox.bash("ls -A") == "deep\n"


def test_directories_that_their_owner_closed_are_opened(sandbox: Sandbox) -> None:
    sandbox.put({"closed/a": b"1", "closed/b/c": b"2"})
    sandbox.bash("chmod 0 closed/b closed .")
    sandbox.put({"closed/new": b"3"})
    assert sandbox.files() == {"closed/a": b"1", "closed/b/c": b"2", "closed/new": b"3"}
    sandbox.bash("chmod 0 .")
    assert sandbox.bash("cat closed/b/c") == "2"


def test_files_and_the_directories_they_leave_empty_are_removed(sandbox: Sandbox) -> None:
    sandbox.put({"a/b/c": b"1", "a/d": b"2", "e/f/g": b"3", "h": b"4"})
    sandbox.bash("mkdir replaced; touch not-a-directory; ln -s a linked")
    sandbox.remove(
        ["a/b/c", "e/f/g", "h", "missing", "a/missing", "replaced", "not-a-directory/x", "linked/d"]
    )
    assert sandbox.bash("find . | sort") == (
        ".\n./a\n./a/d\n./linked\n./not-a-directory\n./replaced\n"
    )


def test_only_what_is_not_known_is_sent(sandbox: Sandbox) -> None:
    files = {"same": b"1", "touched": b"2", "changed": b"3", "gone": b"4"}
    sandbox.put(files)
    known = {name: sha256(data) for name, data in files.items()}
    sandbox.bash("touch -d 2001-01-01 touched; printf 33 > changed; rm gone; printf 5 > new")
    collection, received = sandbox.collect(known)
    assert {entry.name: (entry.size, entry.sha256) for entry in collection.entries} == {
        "same": (1, known["same"]),
        "touched": (1, known["touched"]),
        "changed": (2, sha256(b"33")),
        "new": (1, sha256(b"5")),
    }
    assert received == {"changed": b"33", "new": b"5"}
    assert (collection.skipped.reasons, collection.kept_back) == ({}, frozenset())


def test_a_change_through_a_mapping_is_found(sandbox: Sandbox) -> None:
    """The kernel notes no new time stamp for it."""
    sandbox.put({"array": b"a" * 5000})
    known = {"array": sha256(b"a" * 5000)}
    assert sandbox.collect(known)[1] == {}
    sandbox.output(
        "import mmap\nwith open('array', 'r+b') as f:\n"
        "    m = mmap.mmap(f.fileno(), 0)\n    m[0] += 1\n    m.close()"
    )
    assert sandbox.collect(known)[1] == {"array": b"b" + b"a" * 4999}


def test_only_regular_files_are_output(sandbox: Sandbox) -> None:
    sandbox.output(
        "import os, socket\nos.mkfifo('fifo')\nos.symlink('/etc/passwd', 'link')\n"
        "os.symlink('.', 'loop')\nos.makedirs('empty/dir')\n"
        "socket.socket(socket.AF_UNIX).bind('socket')\nopen('file', 'w').close()"
    )
    collection, received = sandbox.collect()
    assert received == {"file": b""}
    assert collection.skipped.reasons == {}


def test_hidden_directories_are_output_only_where_an_input_is(sandbox: Sandbox) -> None:
    sandbox.put({".git/config": b"1", ".cache/x": b"2", "a/__pycache__/b.pyc": b"3", ".env": b"4"})
    assert sandbox.files() == {".env": b"4"}
    known = {".git/config": sha256(b"1"), "a/__pycache__/b.pyc": sha256(b"3")}
    sandbox.bash("printf new > .git/new")
    collection, received = sandbox.collect(known)
    assert received == {".env": b"4", ".git/new": b"new"}
    assert {entry.name for entry in collection.entries} == {".env", ".git/new", *known}


def test_what_is_over_a_limit_is_skipped_and_said(sandbox: Sandbox) -> None:
    sandbox.output(
        "import os\n"
        "os.truncate(os.open('sparse', os.O_CREAT | os.O_RDWR), 30 * 2**20)\n"
        "os.makedirs('1/2/3/4/5/6')\n"
        "for name in ('1/2/3/4/ok', '1/2/3/4/5/deep', '1/2/3/4/5/deeper', 'x' * 101, 'a\\nb',"
        " 'back\\\\slash', b'\\xff\\xfe', 'ok'):\n    open(name, 'w').close()"
    )
    collection, received = sandbox.collect()
    assert received == {"ok": b"", "1/2/3/4/ok": b""}
    assert collection.skipped.reasons == {"size": 1, "depth": 1, "path": 4}
    names = {"sparse", "1/2/3/4/5", "x" * 101, "back\\slash", "a\ufffdb", "\ufffd\ufffd"}
    assert set(collection.skipped.names) == names


def test_inputs_have_their_places_before_new_files(sandbox: Sandbox) -> None:
    sandbox.put({f"a{i}": b"1234567890" for i in range(5)} | {"z": b"input"})
    known = {"z": sha256(b"input")}
    collection, received = sandbox.collect(known, max_files=3)
    assert {entry.name for entry in collection.entries} == {"z", "a0", "a1"}
    assert set(received) == {"a0", "a1"}
    assert collection.skipped.reasons == {"max_files": 3}
    collection, received = sandbox.collect(known, total_bytes=26)
    assert {entry.name for entry in collection.entries} == {"z", "a0", "a1"}
    assert collection.skipped.reasons == {"size": 3}


def test_an_input_that_outgrew_a_limit_is_not_taken_for_deleted(sandbox: Sandbox) -> None:
    known = {"big": sha256(b"small"), "deleted": sha256(b"small")}
    sandbox.put({"big": b"x" * 1001, "new": b"x" * 1001})
    collection, received = sandbox.collect(known, file_bytes=1000)
    assert (collection.entries, received) == ([], {})
    assert collection.kept_back == {"big"}
    assert collection.skipped.reasons == {"size": 2}


def test_the_names_of_skipped_files_are_at_most_twenty(sandbox: Sandbox) -> None:
    sandbox.put({f"f{i}": b"12" for i in range(30)})
    collection, _ = sandbox.collect(file_bytes=1)
    assert collection.skipped.reasons == {"size": 30}
    assert len(collection.skipped.names) == 20
