"""Which session a run belongs to, and what it finds there."""

from datetime import timedelta
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from audit.models import Execution, SandboxFile, SandboxSession
from keys.models import APIKey
from sandbox.services import Caller, RunRequest
from sandbox.services.entering import enter
from tests.fakes.engine import FakeEngine
from tests.unit.sandbox.helpers import content, put, ref, run

pytestmark = pytest.mark.usefixtures("fake")

WRITE = "open('a.txt', 'w').write('one')"
READ = "print(open('a.txt').read(), end='')"


def test_a_run_gets_a_session_of_its_own(alice: Caller) -> None:
    first, second = run(alice, WRITE), run(alice, READ)
    assert first.session.pk != second.session.pk
    assert second.verdict.exit_code == 1
    assert "No such file" in second.verdict.stderr


def test_a_session_is_continued_by_its_id_in_the_same_container(
    alice: Caller, fake: FakeEngine
) -> None:
    first = run(alice, WRITE)
    second = run(alice, READ, session_id=first.session.pk)
    assert second.session.pk == first.session.pk
    assert second.verdict.stdout == "one"
    assert second.reused
    assert second.execution.container_source == Execution.Source.SESSION
    assert len(fake.list()) == 1


def test_a_session_outlives_its_container(alice: Caller, fake: FakeEngine) -> None:
    first = run(alice, WRITE + "; open('run.sh', 'w'); __import__('os').chmod('run.sh', 0o755)")
    for container in fake.list():
        fake.kill(container.name)
    second = run(
        alice,
        READ + "; print(__import__('os').access('run.sh', 1))",
        session_id=first.session.pk,
    )
    assert second.verdict.stdout == "oneTrue\n"
    assert not second.reused


def test_a_mode_that_a_later_run_set_outlives_the_container(
    alice: Caller, fake: FakeEngine
) -> None:
    first = run(alice, "open('run.sh', 'w').write('echo')")
    run(alice, "__import__('os').chmod('run.sh', 0o755)", session_id=first.session.pk)
    for container in fake.list():
        fake.kill(container.name)
    asked = run(alice, "print(__import__('os').access('run.sh', 1))", session_id=first.session.pk)
    assert asked.verdict.stdout == "True\n"


def test_a_request_with_files_does_not_continue_a_session(alice: Caller) -> None:
    first = run(alice, WRITE)
    other = put(alice, ("b.txt", b"two")).files[0]
    second = run(alice, READ, session_id=first.session.pk, files=[ref(other)])
    assert second.session.pk != first.session.pk
    assert second.verdict.exit_code == 1


def test_an_upload_is_never_continued(alice: Caller) -> None:
    uploaded = put(alice, ("a.txt", b"one"))
    ran = run(alice, READ, session_id=uploaded.session.pk)
    assert ran.session.pk != uploaded.session.pk
    assert ran.verdict.exit_code == 1


def test_another_keys_session_is_not_continued_and_shows_no_trace(
    alice: Caller, bob: Caller
) -> None:
    first = run(alice, WRITE)
    second = run(bob, READ, session_id=first.session.pk)
    assert second.session.pk != first.session.pk
    assert second.verdict.exit_code == 1
    assert first.session.executions.count() == 1


def test_another_known_user_of_the_key_does_not_continue_a_session(alice: Caller) -> None:
    first = run(Caller(key=alice.key, user_id="u1"), WRITE)
    other = run(Caller(key=alice.key, user_id="u2"), READ, session_id=first.session.pk)
    unknown = run(alice, READ, session_id=first.session.pk)
    assert other.session.pk != first.session.pk
    assert unknown.session.pk == first.session.pk


def test_a_hint_finds_the_owners_session(alice: Caller, bob: Caller) -> None:
    first = run(alice, WRITE, hint="conversation")
    assert run(alice, READ, hint="conversation").verdict.stdout == "one"
    assert run(alice, READ, hint="other").session.pk != first.session.pk
    assert run(bob, READ, hint="conversation").session.pk != first.session.pk


def test_an_expired_session_is_not_continued_and_frees_its_hint(alice: Caller) -> None:
    first = run(alice, WRITE, hint="conversation")
    SandboxSession.objects.update(expires_at=first.session.created_at)
    by_id = run(alice, READ, session_id=first.session.pk)
    by_hint = run(alice, READ, hint="conversation")
    assert first.session.pk not in (by_id.session.pk, by_hint.session.pk)


def test_a_session_remembers_its_inputs(alice: Caller) -> None:
    uploaded = put(alice, ("a.txt", b"one"))
    first = run(alice, READ, files=[ref(uploaded.files[0])])
    second = run(alice, READ, session_id=first.session.pk)
    assert second.verdict.stdout == "one"
    assert second.outputs == []
    assert second.inherited == []


def test_a_changed_input_becomes_the_sessions_own_file(alice: Caller) -> None:
    uploaded = put(alice, ("a.txt", b"one"))
    first = run(alice, "open('a.txt', 'a').write('!')", files=[ref(uploaded.files[0])])
    [output] = first.outputs
    assert output.modified_from == uploaded.files[0]
    assert (content(output.file), content(uploaded.files[0])) == (b"one!", b"one")
    assert run(alice, READ, session_id=first.session.pk).verdict.stdout == "one!"


def test_a_file_written_again_gets_a_new_id_and_the_old_one_stays_readable(alice: Caller) -> None:
    first = run(alice, WRITE)
    second = run(alice, "open('a.txt', 'w').write('two')", session_id=first.session.pk)
    old, new = first.outputs[0].file, second.outputs[0].file
    assert old.pk != new.pk
    assert second.outputs[0].modified_from is None
    assert (content(old), content(new)) == (b"one", b"two")
    assert list(SandboxFile.objects.current()) == [new]


def test_many_files_do_not_use_up_the_servers_descriptors(alice: Caller) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    soft, hard = getrlimit(RLIMIT_NOFILE)
    setrlimit(RLIMIT_NOFILE, (before + 100, hard))
    try:
        ran = run(alice, "for i in range(200): open(f'{i}.txt', 'w').write('x')")
    finally:
        setrlimit(RLIMIT_NOFILE, (soft, hard))
    assert SandboxFile.objects.filter(session=ran.session).count() == 200


def test_the_same_bytes_again_are_no_new_file(alice: Caller) -> None:
    first = run(alice, WRITE)
    second = run(
        alice, WRITE + "; __import__('os').utime('a.txt', (1, 1))", session_id=first.session.pk
    )
    assert second.outputs == []


def test_a_removed_file_stays_away(alice: Caller, fake: FakeEngine) -> None:
    first = run(alice, WRITE)
    run(alice, "import os; os.remove('a.txt')", session_id=first.session.pk)
    for container in fake.list():
        fake.kill(container.name)
    assert run(alice, READ, session_id=first.session.pk).verdict.exit_code == 1
    assert content(first.outputs[0].file) == b"one"


def test_a_removed_input_is_reported_and_forgotten(alice: Caller) -> None:
    uploaded = put(alice, ("a.txt", b"one"))
    first = run(alice, "import os; os.remove('a.txt')", files=[ref(uploaded.files[0])])
    assert first.deleted == ["a.txt"]
    assert run(alice, READ, session_id=first.session.pk).verdict.exit_code == 1


def test_an_older_version_asked_for_by_ref_is_what_the_session_then_has(alice: Caller) -> None:
    first = run(alice, WRITE, hint="c")
    run(alice, "open('a.txt', 'w').write('two')", hint="c")
    again = run(alice, READ, hint="c", files=[ref(first.outputs[0].file)])
    assert again.verdict.stdout == "one"
    assert run(alice, READ, hint="c").verdict.stdout == "one"


@pytest.mark.parametrize("by", ["id", "hint"])
def test_a_session_that_is_asked_for_does_not_expire_before_its_run(alice: Caller, by: str) -> None:
    first = run(alice, WRITE, hint="c")
    SandboxSession.objects.update(expires_at=timezone.now() + timedelta(seconds=1))
    asked = (
        RunRequest(language="py", code="", session_id=first.session.pk)
        if by == "id"
        else RunRequest(language="py", code="", hint="c")
    )
    entered = enter(alice, asked, Execution(key=alice.key, language="py"))
    assert entered.lease is not None
    found = entered.session
    found.refresh_from_db()
    assert found.pk == first.session.pk
    assert found.expires_at > timezone.now() + timedelta(hours=1)


def test_using_a_file_keeps_its_session_alive(alice: Caller) -> None:
    uploaded = put(alice, ("a.txt", b"one"))
    before = uploaded.session.expires_at
    run(alice, READ, files=[ref(uploaded.files[0])])
    uploaded.session.refresh_from_db()
    assert uploaded.session.expires_at > before


@pytest.mark.django_db(transaction=True)
def test_a_commit_whose_answer_is_lost_loses_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    caller = Caller(key=APIKey.issue(name="Alice")[0])
    first = run(caller, WRITE)
    real_commit = BaseDatabaseWrapper._commit  # type: ignore[attr-defined]
    written: list[str] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith('INSERT INTO "audit_sandboxfile"'):
            written.append(sql)
        return execute(sql, *rest)

    def commit_and_lose_the_answer(self: Any) -> None:
        real_commit(self)
        if written:
            written.clear()
            self.connection.close()
            raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(BaseDatabaseWrapper, "_commit", commit_and_lose_the_answer)
    with connection.execute_wrapper(note), pytest.raises(OperationalError):
        run(caller, "open('a.txt', 'w').write('two')", session_id=first.session.pk)
    assert written == []
    assert run(caller, READ, session_id=first.session.pk).verdict.stdout == "two"
