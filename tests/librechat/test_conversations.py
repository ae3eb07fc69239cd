"""Files on their way through a conversation: uploaded, read, changed, written, read again."""

import struct
import zlib

from tests.librechat.client import LibreChat
from tests.librechat.conversation import Conversation
from tests.librechat.refs import ALICE, BOB, Scope, StoredFile
from tests.librechat.releases import NEWEST, SENDING_A_KEY, SENDING_NO_KEY, V0_8_0, V0_8_5, only

LIST = "import os; print(sorted(f for f in os.listdir() if f != 'main.py'))"
GONE = StoredFile("V1StGXR8_Z5jdHi6B-myT", "Zk3pQ0x9aB_7cDeFgHiJ1", "data.csv")
SKILL = Scope(kind="skill", id="65f0c0ffee00000000005711", version=3)
AGENT = Scope(kind="agent", id="agent_abc")


def read(name: str) -> str:
    return f"print(open({name!r}, encoding='utf-8', newline='').read(), end='')"


def write(name: str, text: str) -> str:
    return f"open({name!r}, 'w', encoding='utf-8').write({text!r})"


def test_what_a_program_writes_is_delivered(librechat: LibreChat) -> None:
    conversation = Conversation(librechat)
    answer = conversation.run(
        "py",
        "import os\nos.makedirs('out/deep')\n"
        "open('out/deep/Größe 1.txt', 'w').write('12\\n')\n"
        "open('raw.bin', 'wb').write(bytes(range(256)))\nopen('empty', 'w').close()",
    )
    assert conversation.delivered(answer) == {
        "out/deep/Größe 1.txt": b"12\n",
        "raw.bin": bytes(range(256)),
        "empty": b"",
    }
    assert answer.session_id in {file["session_id"] for file in answer.files}


def test_a_plot_is_delivered_as_an_image(librechat: LibreChat) -> None:
    conversation = Conversation(librechat)
    answer = conversation.run(
        "py",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.savefig('a.png')\nplt.show()",
    )
    images = conversation.delivered(answer)
    assert sorted(images) == ["a.png", "plot_1.png"]
    assert all(image.startswith(b"\x89PNG\r\n") for image in images.values())
    assert "stderr" not in answer.text


def test_many_outputs_are_fetched_side_by_side(librechat: LibreChat) -> None:
    conversation = Conversation(librechat)
    answer = conversation.run(
        "py", "for n in range(50):\n    open(f'{n}.bin', 'wb').write(bytes([n]) * 100_000)"
    )
    assert conversation.delivered(answer) == {f"{n}.bin": bytes([n]) * 100_000 for n in range(50)}


def test_files_written_before_a_failure_are_delivered(librechat: LibreChat) -> None:
    conversation = Conversation(librechat)
    answer = conversation.run("py", write("half.txt", "half") + "\nraise SystemExit(3)")
    assert conversation.delivered(answer) == {"half.txt": b"half"}


def test_an_upload_is_read_by_both_its_paths(librechat: LibreChat) -> None:
    data = librechat.upload("data.csv", b"a,b\n1,2\n")
    conversation = Conversation(librechat, librechat.ref(data))
    answer = conversation.run("py", read("data.csv") + "\n" + read("/mnt/data/data.csv"))
    assert answer.text == "stdout:\na,b\n1,2\na,b\n1,2"


def test_an_unchanged_upload_is_not_delivered_again(librechat: LibreChat) -> None:
    data = librechat.upload("data.csv", b"a,b\n1,2\n")
    conversation = Conversation(librechat, librechat.ref(data))
    rewritten = read("data.csv") + "\n" + write("data.csv", "a,b\n1,2\n")
    answer = conversation.run("py", rewritten)
    assert not answer.generated
    assert "Generated files" not in answer.text
    if librechat.release.sends_key:
        assert not answer.files
    else:
        inherited = answer.inherited["data.csv"]
        assert (inherited["storage_session_id"], inherited["id"]) == (data.session_id, data.id)


def test_a_changed_upload_is_delivered_and_the_original_stays(librechat: LibreChat) -> None:
    data = librechat.upload("data.csv", b"a,b\n1,2\n")
    conversation = Conversation(librechat, librechat.ref(data))
    answer = conversation.run("py", "open('data.csv', 'a').write('3,4\\n')")
    assert conversation.delivered(answer) == {"data.csv": b"a,b\n1,2\n3,4\n"}
    changed = answer.generated["data.csv"]
    assert changed["id"] != data.id
    assert changed["modified_from"]["id"] == data.id
    assert changed["modified_from"]["storage_session_id"] == data.session_id
    assert librechat.download(data)[0] == b"a,b\n1,2\n"


@only(V0_8_5, *SENDING_NO_KEY)
def test_the_next_call_sees_what_the_one_before_changed_and_wrote(librechat: LibreChat) -> None:
    data = librechat.upload("data.csv", b"old")
    conversation = Conversation(librechat, librechat.ref(data))
    conversation.run("py", write("data.csv", "new") + "\n" + write("out.txt", "written"))
    answer = conversation.run("py", read("data.csv") + "\n" + read("out.txt"))
    assert answer.text == "stdout:\nnewwritten"


@only(V0_8_5, *SENDING_NO_KEY)
def test_uploads_stay_when_later_calls_know_outputs_only(librechat: LibreChat) -> None:
    """Up to 0.8.5 the outputs of a call replace the uploads in what the next call sends."""
    data = librechat.upload("data.csv", b"kept")
    conversation = Conversation(librechat, librechat.ref(data))
    conversation.run("py", write("one.txt", "1"))
    if librechat.release == V0_8_5:
        assert [file["name"] for file in conversation.session["files"]] == ["one.txt"]
    conversation.run("py", write("two.txt", "2"))
    conversation.run("py", "pass")
    answer = conversation.run("py", LIST + "\n" + read("data.csv"))
    assert answer.text == "stdout:\n['data.csv', 'one.txt', 'two.txt']\nkept"


@only(V0_8_5)
def test_uploads_stay_after_a_call_without_outputs(librechat: LibreChat) -> None:
    """0.8.5 then asks for the session's listing, and a listing with files replaces the uploads."""
    data = librechat.upload("data.csv", b"kept")
    conversation = Conversation(librechat, librechat.ref(data))
    librechat.requests()
    silent = conversation.run("py", "pass")
    answer = conversation.run("py", read("data.csv"))
    assert answer.text == "stdout:\nkept"
    assert librechat.requests() == [
        "POST /exec",
        f"GET /files/{silent.session_id}?detail=full",
        "POST /exec",
    ]


@only(V0_8_0)
def test_the_model_continues_a_session_by_its_id(librechat: LibreChat) -> None:
    """0.8.0 lists the session that the model names and sends the files along."""
    data = librechat.upload("data.csv", b"upload")
    first = Conversation(librechat, librechat.ref(data)).run("py", write("a.txt", "A"))
    librechat.requests()
    arguments = {"lang": "py", "session_id": first.session_id, "code": write("b.txt", "B")}
    [second] = Conversation(librechat).call(("execute_code", arguments))
    assert librechat.requests() == [f"GET /files/{first.session_id}?detail=full", "POST /exec"]
    code = LIST + "\n" + "\n".join(read(name) for name in ("a.txt", "b.txt", "data.csv"))
    arguments = {"lang": "py", "session_id": second.session_id, "code": code}
    [third] = Conversation(librechat).call(("execute_code", arguments))
    assert third.text == "stdout:\n['a.txt', 'b.txt', 'data.csv']\nABupload"


@only(V0_8_0)
def test_a_session_that_wrote_nothing_is_continued_with_its_uploads(librechat: LibreChat) -> None:
    data = librechat.upload("data.csv", b"upload")
    first = Conversation(librechat, librechat.ref(data)).run("py", "pass")
    arguments = {"lang": "py", "session_id": first.session_id, "code": read("data.csv")}
    [second] = Conversation(librechat).call(("execute_code", arguments))
    assert second.text == "stdout:\nupload"


@only(V0_8_0)
def test_the_newer_file_wins_when_a_continued_session_has_the_uploads_name(
    librechat: LibreChat,
) -> None:
    data = librechat.upload("data.csv", b"upload")
    ref = librechat.ref(data)
    first = Conversation(librechat, ref).run("py", write("data.csv", "changed"))
    arguments = {"lang": "py", "session_id": first.session_id, "code": read("data.csv")}
    [second] = Conversation(librechat, ref).call(("execute_code", arguments))
    assert second.text == "stdout:\nchanged"


def test_an_output_is_an_input_of_a_later_turn(librechat: LibreChat) -> None:
    """LibreChat stores the pointer and primes it in the thread's next turn like an upload."""
    earlier = Conversation(librechat)
    written = earlier.stored(earlier.run("py", write("out.txt", "later")), "out.txt")
    assert librechat.freshness(written)
    answer = Conversation(librechat, librechat.ref(written)).run("py", read("out.txt"))
    assert answer.text == "stdout:\nlater"
    assert not answer.generated


def test_the_name_in_the_reference_wins(librechat: LibreChat) -> None:
    """LibreChat cleans names for its own database, the upload still has the original one."""
    data = librechat.upload("Übersicht 2026 (1).csv", b"sheet")
    renamed = StoredFile(data.session_id, data.id, "dir/_bersicht_2026__1_.csv", data.scope)
    answer = Conversation(librechat, librechat.ref(renamed)).run("py", read(renamed.name))
    assert answer.text == "stdout:\nsheet"


def test_the_last_of_two_references_to_one_name_wins(librechat: LibreChat) -> None:
    first = librechat.upload("data.csv", b"first")
    last = librechat.upload("data.csv", b"last")
    conversation = Conversation(librechat, librechat.ref(first), librechat.ref(last))
    assert conversation.run("py", read("data.csv")).text == "stdout:\nlast"


def test_a_stale_reference_finds_the_fresh_upload_of_its_name(librechat: LibreChat) -> None:
    """Up to 0.8.5 the turn that uploads an expired file again still sends the old reference."""
    stale = StoredFile(GONE.session_id, GONE.id, "again.csv", librechat.own_scope())
    librechat.upload("again.csv", b"older")
    librechat.upload("again.csv", b"fresh")
    answer = Conversation(librechat, librechat.ref(stale)).run("py", read("again.csv"))
    assert answer.text == "stdout:\nfresh"


def test_a_stale_reference_never_finds_another_users_upload(librechat: LibreChat) -> None:
    name = f"upload of {librechat.release}.csv"
    stale = StoredFile(GONE.session_id, GONE.id, name, librechat.own_scope(ALICE))
    conversation = Conversation(librechat, librechat.ref(stale), user=ALICE)
    librechat.upload(name, b"Bob's", user=BOB)
    assert _content(conversation, name) == "stdout:\nnone"
    librechat.upload(name, b"Alice's", user=ALICE)
    librechat.upload(name, b"Bob's newer", user=BOB)
    assert _content(conversation, name) == "stdout:\nAlice's"


def _content(conversation: Conversation, name: str) -> str:
    """By the bash tool where there is one: it sends no user, only the reference tells of them."""
    if conversation.librechat.release.sends_key:
        code = f"import pathlib; p = pathlib.Path({name!r})\n"
        return conversation.run("py", code + "print(p.read_text() if p.exists() else 'none')").text
    return conversation.run("bash", f"cat '{name}' 2>/dev/null || echo none").text


@only(*SENDING_NO_KEY)
def test_a_stale_reference_never_finds_what_another_users_run_wrote(
    librechat: LibreChat,
) -> None:
    """Neither of the two runs says whose it is."""
    name = f"result of {librechat.release}.csv"
    Conversation(librechat, user=BOB).run("bash", f"echo private > '{name}'")
    stale = StoredFile(GONE.session_id, GONE.id, name, librechat.own_scope(ALICE))
    answer = Conversation(librechat, librechat.ref(stale), user=ALICE).run("bash", "ls")
    assert name not in answer.text


def test_a_stale_reference_without_replacement_is_left_out_silently(
    librechat: LibreChat,
) -> None:
    stale = StoredFile(GONE.session_id, GONE.id, "never uploaded.csv", librechat.own_scope())
    there = librechat.upload("there.csv", b"there")
    conversation = Conversation(librechat, librechat.ref(stale), librechat.ref(there))
    assert conversation.run("py", LIST).text == "stdout:\n['there.csv']"


@only(*SENDING_A_KEY)
def test_a_reference_through_the_runs_session_means_the_old_bytes(librechat: LibreChat) -> None:
    """These releases write the run's session over the file's own one."""
    data = librechat.upload("poisoned.csv", b"the bytes of then")
    answer = Conversation(librechat, librechat.ref(data)).run("py", "pass")
    librechat.upload("poisoned.csv", b"a newer upload")
    alias = StoredFile(answer.session_id, data.id, data.name)
    answer = Conversation(librechat, librechat.ref(alias)).run("py", read("poisoned.csv"))
    assert answer.text == "stdout:\nthe bytes of then"


@only(NEWEST)
def test_a_removed_file_stays_away(librechat: LibreChat) -> None:
    data = librechat.upload("data.csv", b"data")
    other = librechat.upload("other.csv", b"other")
    conversation = Conversation(librechat, librechat.ref(data), librechat.ref(other))
    conversation.run("bash", "rm data.csv")
    assert conversation.run("py", LIST).text == "stdout:\n['other.csv']"


@only(*SENDING_NO_KEY)
def test_a_skills_files_are_read_only_and_keep_their_identity(librechat: LibreChat) -> None:
    contents = {
        "skills/pdf/SKILL.md": b"# PDF\n",
        "skills/pdf/references/forms.md": b"fields\n",
    }
    skill = librechat.upload_skill(contents, SKILL)
    conversation = Conversation(librechat, *[librechat.ref(file) for file in skill])
    answer = conversation.run(
        "bash", "cat skills/pdf/references/forms.md; echo mine > skills/pdf/SKILL.md; true"
    )
    assert answer.text.startswith("stdout:\nfields")
    assert not answer.generated
    assert sorted(answer.inherited) == sorted(contents)
    identities = {
        (file["kind"], file["resource_id"], file["version"], file["storage_session_id"])
        for file in conversation.session["files"]
    }
    assert identities == {("skill", SKILL.id, 3, skill[0].session_id)}
    again = conversation.run("bash", "cat skills/pdf/SKILL.md")
    assert again.text.startswith("stdout:\n# PDF")


@only(*SENDING_NO_KEY)
def test_an_agents_file_serves_every_user(librechat: LibreChat) -> None:
    shared = librechat.upload("manual.txt", b"for all", user=ALICE, scope=AGENT)
    answer = Conversation(librechat, librechat.ref(shared), user=BOB).run("py", read("manual.txt"))
    assert answer.text == "stdout:\nfor all"


@only(*SENDING_NO_KEY)
def test_a_shared_session_never_receives_a_users_files(librechat: LibreChat) -> None:
    """Before a run's first answer the host's helpers name an upload's session as theirs."""
    skill = librechat.upload_skill({"skills/x/SKILL.md": b"shared"}, SKILL)[0]
    librechat.write_text("/mnt/data/private.txt", "Alice's", sessionId=skill.session_id)
    seen = librechat.run_bash("ls -A", sessionId=skill.session_id)
    assert "private.txt" not in seen["stdout"]
    names = {file["filename"] for file in librechat.list_files(skill.session_id, "full")}
    assert names == {"skills/x/SKILL.md"}


def test_an_image_of_an_upload_is_decoded(librechat: LibreChat) -> None:
    picture = librechat.upload("dot.png", _png(3, 2))
    answer = Conversation(librechat, librechat.ref(picture)).run(
        "py", "from PIL import Image\nprint(Image.open('dot.png').size)"
    )
    assert answer.text == "stdout:\n(3, 2)"


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = (b"\0" + b"\x7f" * width) * height
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
