from pathlib import Path

import pytest
from pytest_django import Settings

from audit.models import SandboxFile, SandboxSession
from sandbox import services
from sandbox.errors import SandboxFileNotFound, SessionNotFound, StoreUnavailable
from sandbox.services import NO_SCOPE, Caller, Scope
from tests.unit.sandbox.helpers import content, put, ref, run

SKILL = Scope(kind="skill", resource_id="s1", version=2)


def test_an_upload_is_one_session_with_its_files(alice: Caller) -> None:
    uploaded = put(alice, ("a.txt", b"one"), ("dir/b.txt", b""))
    assert [content(file) for file in uploaded.files] == [b"one", b""]
    assert services.list_files(alice, uploaded.session.pk, NO_SCOPE) == uploaded.files
    assert uploaded.session.origin == SandboxSession.Origin.UPLOAD


def test_a_failed_upload_leaves_nothing(alice: Caller, store_dir: Path) -> None:
    good, bad = ("a.txt", b"one"), ("b" * 2000, b"two")
    with pytest.raises(Exception, match="value too long"):
        put(alice, good, bad)
    assert not [path for path in store_dir.rglob("*") if path.is_file()]


@pytest.mark.django_db(transaction=True)
def test_a_store_that_cannot_be_written_keeps_no_row(
    alice: Caller, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    settings.SANDBOX_STORE_DIR = tmp_path / "file"
    with pytest.raises(StoreUnavailable):
        put(alice, ("a.txt", b"one"))
    assert SandboxSession.objects.count() == SandboxFile.objects.count() == 0


def test_another_keys_session_and_file_do_not_exist(alice: Caller, bob: Caller) -> None:
    file = put(alice, ("a.txt", b"one")).files[0]
    with pytest.raises(SessionNotFound):
        services.get_session(bob, file.session_id, NO_SCOPE)
    with pytest.raises(SandboxFileNotFound):
        services.get_file(bob, file.session_id, file.pk, NO_SCOPE)
    with pytest.raises(SandboxFileNotFound):
        services.delete_file(bob, file.session_id, file.pk, NO_SCOPE)
    assert content(file) == b"one"


@pytest.mark.parametrize(
    ("scope", "found"),
    [
        (NO_SCOPE, True),
        (SKILL, True),
        (Scope(kind="skill", resource_id="s1", version=3), False),
        (Scope(kind="skill", resource_id="s2", version=2), False),
        (Scope(kind="agent", resource_id="s1"), False),
        (Scope(kind="user", resource_id="u1"), False),
    ],
)
def test_a_skills_files_answer_to_their_version_only(
    scope: Scope, found: bool, alice: Caller
) -> None:
    file = put(alice, ("a.txt", b"one"), scope=SKILL).files[0]
    if found:
        assert services.get_file(alice, file.session_id, file.pk, scope) == file
    else:
        with pytest.raises(SandboxFileNotFound):
            services.get_file(alice, file.session_id, file.pk, scope)
        with pytest.raises(SessionNotFound):
            services.get_session(alice, file.session_id, scope)


def test_a_users_id_is_no_condition(alice: Caller) -> None:
    """Without a JWT a run's user is unknown, and its files are asked for as some user's."""
    file = put(alice, ("a.txt", b"one")).files[0]
    scope = Scope(kind="user", resource_id="anybody")
    assert services.get_file(alice, file.session_id, file.pk, scope) == file


def test_a_deleted_file_is_gone_once(alice: Caller) -> None:
    gone, stays = put(alice, ("a.txt", b"one"), ("b.txt", b"two")).files
    services.delete_file(alice, gone.session_id, gone.pk, NO_SCOPE)
    with pytest.raises(SandboxFileNotFound):
        services.delete_file(alice, gone.session_id, gone.pk, NO_SCOPE)
    assert services.list_files(alice, gone.session_id, NO_SCOPE) == [stays]


def test_a_runs_inputs_are_found_under_it_but_not_deleted_there(
    alice: Caller, fake: object
) -> None:
    file = put(alice, ("a.txt", b"one")).files[0]
    ran = run(alice, "open('b.txt', 'w')", files=[ref(file, name="c.txt")])
    assert services.get_file(alice, ran.session.pk, file.pk, NO_SCOPE) == file
    listed = services.list_files(alice, ran.session.pk, NO_SCOPE, with_inputs=True)
    assert [each.name for each in listed] == ["b.txt", "c.txt"]
    assert len(services.list_files(alice, ran.session.pk, NO_SCOPE)) == 1
    with pytest.raises(SandboxFileNotFound):
        services.delete_file(alice, ran.session.pk, file.pk, NO_SCOPE)
    assert content(file) == b"one"
