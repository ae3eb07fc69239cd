"""From refs, old and new, right and stale, to the files in the workspace."""

from dataclasses import replace
from typing import Any

import pytest

from sandbox import services, store
from sandbox.services import Caller, FileRef, Scope, inputs
from tests.unit.sandbox.helpers import content, legacy, put, ref, run

pytestmark = pytest.mark.usefixtures("fake")

LIST = """
import os
found = (f"{top[2:]}/{name}".lstrip("/") for top, _, names in os.walk(".") for name in names)
print(sorted(set(found) - {"main.py"}))
"""
READ = "print(open('a.txt').read(), end='')"
STALE = FileRef(id="x" * 21, session_id="y" * 21, name="a.txt", legacy=True)


def test_the_refs_name_wins_and_may_be_nested(alice: Caller) -> None:
    file = put(alice, ("original.txt", b"one")).files[0]
    ran = run(alice, LIST, files=[ref(file, name="deep/er/b.txt"), ref(file, name="")])
    assert ran.verdict.stdout == "['deep/er/b.txt', 'original.txt']\n"


def test_the_last_of_two_refs_to_one_name_wins(alice: Caller) -> None:
    first, second = put(alice, ("a.txt", b"one"), ("b.txt", b"two")).files
    ran = run(alice, READ, files=[ref(first), ref(second, name="a.txt")])
    assert ran.verdict.stdout == "two"
    assert [inherited.file for inherited in ran.inherited] == [second]


def test_a_name_cannot_be_file_and_directory_so_the_later_wins(alice: Caller) -> None:
    first, second = put(alice, ("a", b"one"), ("a/b", b"two")).files
    assert run(alice, LIST, files=[ref(first), ref(second)]).verdict.stdout == "['a/b']\n"
    assert run(alice, LIST, files=[ref(second), ref(first)]).verdict.stdout == "['a']\n"


def test_a_directory_in_place_of_a_file_is_what_the_session_then_has(alice: Caller) -> None:
    nested = put(alice, ("a/b", b"two")).files[0]
    run(alice, "open('a', 'w').write('one')", hint="c")
    assert run(alice, LIST, hint="c", files=[ref(nested)]).verdict.stdout == "['a/b']\n"
    assert run(alice, LIST, hint="c").verdict.stdout == "['a/b']\n"


def test_unchanged_inputs_are_inherited_for_new_refs_only(alice: Caller) -> None:
    file = put(alice, ("a.txt", b"one")).files[0]
    assert [i.file for i in run(alice, READ, files=[ref(file)]).inherited] == [file]
    assert run(alice, READ, files=[legacy(file)]).inherited == []


def test_a_changed_read_only_input_is_inherited_with_its_old_bytes(alice: Caller) -> None:
    file = put(alice, ("a.txt", b"one"), read_only=True).files[0]
    change = "import os; os.remove('a.txt'); open('a.txt', 'w').write('two')"
    ran = run(alice, change, files=[ref(file)])
    assert ran.outputs == []
    assert [i.file for i in ran.inherited] == [file]
    assert content(file) == b"one"
    assert run(alice, READ, session_id=ran.session.pk).verdict.stdout == "one"


def test_a_removed_read_only_input_comes_back(alice: Caller) -> None:
    file = put(alice, ("a.txt", b"one"), read_only=True).files[0]
    ran = run(alice, "import os; os.remove('a.txt')", files=[ref(file)])
    assert ran.deleted == []
    assert run(alice, READ, session_id=ran.session.pk).verdict.stdout == "one"


def test_an_unknown_ref_is_skipped_without_a_word(alice: Caller) -> None:
    ran = run(alice, LIST, files=[STALE])
    assert (ran.verdict.stdout, ran.verdict.stderr) == ("[]\n", "")


def test_a_stale_ref_finds_the_newest_upload_of_its_name(alice: Caller) -> None:
    put(alice, ("a.txt", b"old"))
    put(alice, ("a.txt", b"new"))
    assert run(alice, READ, files=[STALE]).verdict.stdout == "new"


def test_a_stale_ref_finds_the_name_that_librechat_made_of_it(alice: Caller) -> None:
    put(alice, ("Übersicht (1).csv", b"one"))
    stale = FileRef(id="x" * 21, session_id="y" * 21, name="_bersicht__1_.csv", legacy=True)
    assert run(alice, LIST, files=[stale]).verdict.stdout == "['_bersicht__1_.csv']\n"


def test_stale_refs_are_looked_up_together_and_however_old_the_file_is(
    alice: Caller, django_assert_max_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "FALLBACK_CANDIDATES", 5)
    put(alice, ("a.txt", b"old"))
    put(alice, *((f"{number}.txt", b"") for number in range(10)))
    unknown = [FileRef(id=f"{n:021}", session_id="y" * 21, name=f"{n}.csv") for n in range(100)]
    with django_assert_max_num_queries(60):
        ran = run(alice, READ, files=[*unknown, STALE])
    assert ran.verdict.stdout == "old"


def test_a_stale_ref_never_finds_another_users_or_keys_file(alice: Caller, bob: Caller) -> None:
    put(Caller(key=alice.key, user_id="u1"), ("a.txt", b"secret"))
    for caller in (bob, alice, Caller(key=alice.key, user_id="u2")):
        assert run(caller, LIST, files=[STALE]).verdict.stdout == "[]\n"
    same = run(Caller(key=alice.key, user_id="u1"), READ, files=[STALE])
    assert same.verdict.stdout == "secret"


def test_a_stale_ref_finds_an_agents_file_for_all_its_users(alice: Caller) -> None:
    put(Caller(key=alice.key, user_id="author", entity_id="agent_1"), ("a.txt", b"shared"))
    ran = run(Caller(key=alice.key, user_id="u2", entity_id="agent_1"), READ, files=[STALE])
    assert ran.verdict.stdout == "shared"


def test_a_stale_ref_never_finds_what_another_user_of_the_agent_made(alice: Caller) -> None:
    author = Caller(key=alice.key, user_id="u1", entity_id="agent_1")
    run(author, "open('a.txt', 'w').write('secret')")
    for user_id in ("u2", ""):
        other = Caller(key=alice.key, user_id=user_id, entity_id="agent_1")
        assert run(other, LIST, files=[STALE]).verdict.stdout == "[]\n"


def test_a_ref_names_the_user_whom_the_bash_tool_does_not(alice: Caller) -> None:
    put(Caller(key=alice.key, user_id="u1"), ("a.txt", b"mine"))
    put(Caller(key=alice.key, user_id="u2"), ("a.txt", b"another's"))
    run(alice, "open('a.txt', 'w').write('of a run without a user')")
    modern = replace(STALE, legacy=False, kind="user", resource_id="u1")
    assert run(alice, READ, files=[modern]).verdict.stdout == "mine"
    assert run(alice, LIST, files=[replace(modern, resource_id="u3")]).verdict.stdout == "[]\n"


def test_a_stale_ref_to_a_skill_finds_that_skills_files_only(alice: Caller) -> None:
    put(alice, ("a.txt", b"my own"))
    put(alice, ("a.txt", b"the skill's"), scope=Scope(kind="skill", resource_id="s1", version=2))
    modern = replace(STALE, legacy=False, kind="skill", resource_id="s1", version=2)
    assert run(alice, READ, files=[modern]).verdict.stdout == "the skill's"
    assert run(alice, LIST, files=[replace(modern, resource_id="s2")]).verdict.stdout == "[]\n"


def test_another_keys_file_is_unknown(alice: Caller, bob: Caller) -> None:
    file = put(alice, ("a.txt", b"secret")).files[0]
    assert run(bob, LIST, files=[ref(file)]).verdict.stdout == "[]\n"


def test_a_ref_with_the_runs_session_means_the_upload_all_the_same(alice: Caller) -> None:
    """LibreChat up to 0.8.5 overwrites the session of all files that an answer lists. A newer
    upload of the same name must not take its place."""
    file = put(alice, ("a.txt", b"old")).files[0]
    ran = run(alice, READ, files=[legacy(file)])
    put(alice, ("a.txt", b"new"))
    poisoned = legacy(file, session_id=ran.session.pk)
    assert run(alice, READ, files=[poisoned]).verdict.stdout == "old"


def test_a_legacy_ref_to_a_run_brings_that_runs_inputs_along(alice: Caller) -> None:
    file = put(alice, ("a.txt", b"one")).files[0]
    first = run(alice, "open('b.txt', 'w').write(open('a.txt').read())", files=[legacy(file)])
    second = run(alice, "open('c.txt', 'w')", files=[legacy(first.outputs[0].file)])
    third = run(alice, LIST, files=[legacy(second.outputs[0].file)])
    assert third.verdict.stdout == "['a.txt', 'b.txt', 'c.txt']\n"


def test_a_new_ref_to_a_run_brings_nothing_else(alice: Caller) -> None:
    file = put(alice, ("a.txt", b"one")).files[0]
    first = run(alice, "open('b.txt', 'w')", files=[ref(file)])
    second = run(alice, LIST, files=[ref(first.outputs[0].file)])
    assert second.verdict.stdout == "['b.txt']\n"


def test_an_explicit_ref_stands_above_a_remembered_input(alice: Caller) -> None:
    old, new = put(alice, ("a.txt", b"old"), ("a.txt", b"new")).files
    first = run(alice, "open('b.txt', 'w')", files=[legacy(old)])
    refs = [legacy(new), legacy(first.outputs[0].file)]
    assert run(alice, READ, files=refs).verdict.stdout == "new"


def test_a_deleted_file_is_gone_from_the_workspace_too(alice: Caller) -> None:
    first = run(alice, "open('a.txt', 'w').write('one')")
    file = first.outputs[0].file
    services.delete_file(alice, file.session_id, file.pk, Scope())
    assert run(alice, LIST, session_id=first.session.pk).verdict.stdout == "[]\n"


def test_a_file_deleted_while_others_are_brought_in_is_left_out(
    alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = put(alice, ("a.txt", b"one"), ("b.txt", b"two")).files
    exists = store.exists

    def and_then_it_goes(store_key: str) -> bool:
        there = exists(store_key)
        if store_key == second.store_key:
            store.delete_file(store_key)
        return there

    monkeypatch.setattr(store, "exists", and_then_it_goes)
    assert run(alice, LIST, files=[ref(first), ref(second)]).verdict.stdout == "['a.txt']\n"


def test_bytes_that_the_store_has_lost_do_not_end_a_conversation(alice: Caller) -> None:
    lost, there = put(alice, ("a.txt", b"one"), ("b.txt", b"two")).files
    store.delete_file(lost.store_key)
    ran = run(alice, LIST, files=[ref(lost), ref(there)])
    assert ran.verdict.stdout == "['b.txt']\n"
