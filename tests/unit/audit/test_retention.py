"""What is old goes, in small steps, and the chain still tells what was."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from threading import Barrier

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from audit import chain, retention
from audit.models import (
    AuditEntry,
    Execution,
    SandboxContainer,
    SandboxFile,
    SandboxInput,
    SandboxSession,
)
from tests.unit.audit.conftest import Make
from tests.unit.audit.test_chain import verify

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
Record = Execution.Record


@pytest.fixture(autouse=True)
def days(settings: Settings) -> None:
    settings.AUDIT_KEEP_TEXTS_DAYS = 10
    settings.AUDIT_KEEP_EXECUTIONS_DAYS = 20
    settings.AUDIT_KEEP_SESSIONS_DAYS = 30


@pytest.fixture
def make_old(make_run: Make) -> Make:
    def make(days: float, **fields: object) -> Execution:
        then = timezone.now() - timedelta(days=days)
        made = make_run(text=f"{days} days old", created_at=then, ended_at=then, **fields)
        SandboxSession.objects.filter(executions=made).update(created_at=then, ended_at=then)
        SandboxFile.objects.filter(execution=made).update(created_at=then, deleted_at=then)
        SandboxContainer.objects.filter(executions=made).update(
            created_at=then, removed_at=then, state=SandboxContainer.State.GONE
        )
        return made

    return make


def prune(*arguments: str) -> str:
    out = StringIO()
    call_command("pruneaudit", *arguments, stdout=out)
    return out.getvalue()


def test_texts_go_first_and_executions_later(make_old: Make) -> None:
    new, middle, old = make_old(9), make_old(11), make_old(21)
    said = prune()
    assert "removed the texts of 1 executions, 1 executions," in said
    assert set(Execution.objects.all()) == {new, middle}
    new.refresh_from_db()
    assert (new.code_record, new.output_record) == (Record.STORED, Record.STORED)
    assert new.code
    assert new.stdout
    middle.refresh_from_db()
    assert (middle.code, middle.args, middle.stdout, middle.stderr) == ("", [], "", "")
    assert (middle.code_record, middle.output_record) == (Record.PRUNED, Record.PRUNED)
    # What happened is known for longer than what was written.
    assert middle.user_id
    assert middle.step_ms
    # A file says no more who wrote it than is known.
    assert SandboxFile.objects.get(session=old.session).execution is None
    assert "removed the texts of 0 executions, 0 executions," in prune()


def test_what_was_never_stored_was_not_removed_by_retention(make_old: Make) -> None:
    run = make_old(11, code="", args=[], code_record=Record.NOT_STORED)
    prune()
    run.refresh_from_db()
    assert (run.code_record, run.output_record) == (Record.NOT_STORED, Record.PRUNED)
    assert verify()[0]


def test_the_chain_tells_what_was_pruned_from_what_is_missing(make_old: Make) -> None:
    new, middle, _ = make_old(9), make_old(11), make_old(21)
    prune()
    well, said = verify()
    assert well, said
    assert (
        "2 executions, 1 of them without the texts that retention has removed, and 1 that" in said
    )
    # The facts of a row without its texts are still checked.
    Execution.objects.filter(pk=middle.pk).update(user_id="somebody else")
    assert f"execution {middle.pk} was changed: facts" in verify()[1]
    Execution.objects.filter(pk=new.pk).delete()
    assert f"execution {new.pk} is missing" in verify()[1]


def test_what_retention_removed_does_not_come_back(make_old: Make) -> None:
    middle, old = make_old(11), make_old(21)
    prune()
    Execution.objects.filter(pk=middle.pk).update(stdout="as it was not")
    well, said = verify()
    assert not well
    assert f"execution {middle.pk} has stdout again: retention had removed it" in said
    old.save(force_insert=True)
    assert f"execution {old.pk} is there again: retention had removed it" in verify()[1]


def test_a_dry_run_says_the_same_and_removes_nothing(make_old: Make) -> None:
    for days in (9, 11, 12, 21, 22, 23):
        make_old(days)
    said = prune("--dry-run")
    assert "would remove the texts of 2 executions, 3 executions," in said
    assert Execution.objects.count() == 6
    assert not Execution.objects.filter(code="").exists()
    assert not AuditEntry.objects.exclude(kind="execution").exists()
    assert "removed the texts of 2 executions, 3 executions," in prune()


def test_zero_days_are_for_ever(make_old: Make, settings: Settings) -> None:
    settings.AUDIT_KEEP_TEXTS_DAYS = settings.AUDIT_KEEP_EXECUTIONS_DAYS = 0
    settings.AUDIT_KEEP_SESSIONS_DAYS = 0
    old = make_old(30_000)
    assert "AUDIT_KEEP_TEXTS_DAYS: for ever" in prune()
    old.refresh_from_db()
    assert old.code


def test_a_run_that_goes_on_stays(make_old: Make) -> None:
    running = make_old(25, status=Execution.Status.RUNNING)
    prune()
    running.refresh_from_db()
    assert running.code


def test_a_session_goes_when_nothing_leads_to_it(make_old: Make) -> None:
    recent, ended = make_old(29), make_old(31)
    given = SandboxInput.objects.get(session=ended.session).file
    prune()
    assert not SandboxSession.objects.filter(pk=ended.session_id).exists()
    assert not SandboxFile.objects.filter(session=ended.session_id).exists()
    assert not SandboxContainer.objects.filter(pk=ended.container_id).exists()
    assert SandboxSession.objects.filter(pk=recent.session_id).exists()
    # Another session's file, which lives on there.
    assert SandboxFile.objects.filter(pk=given.pk).exists()


def test_a_session_stays_as_long_as_its_executions(make_old: Make, settings: Settings) -> None:
    settings.AUDIT_KEEP_EXECUTIONS_DAYS = 0
    run = make_old(31)
    prune()
    run.refresh_from_db()
    assert run.session.ended_at
    assert run.container
    assert verify()[0]


def test_a_file_stays_for_a_later_session_that_was_given_it(make_old: Make) -> None:
    old, later = make_old(40), make_old(1)
    file = SandboxFile.objects.get(session=old.session)
    SandboxInput.objects.create(session=later.session, file=file, name="from earlier")
    prune()
    assert SandboxInput.objects.filter(session=later.session, file=file).exists()
    SandboxSession.objects.filter(pk=later.session_id).update(
        ended_at=timezone.now() - timedelta(days=31)
    )
    prune()
    assert not SandboxFile.objects.filter(pk=file.pk).exists()


def test_it_goes_in_batches_and_past_what_has_to_stay(
    make_old: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    later = make_old(1)
    for number in range(7):
        made = make_old(31 + number)
        if number >= 4:
            [file] = SandboxFile.objects.filter(session=made.session)
            SandboxInput.objects.create(session=later.session, file=file, name=str(number))
    prune()
    assert list(Execution.objects.all()) == [later]
    assert SandboxFile.objects.exclude(deleted_at=None).count() == 1 + 3
    rounds = AuditEntry.objects.filter(kind=AuditEntry.Kind.ROWS_PRUNED)
    assert list(rounds.values_list("through", flat=True)) == [2, 4, 6, 7]
    assert verify()[0]


def test_what_the_time_does_not_suffice_for_is_left_for_the_next_time(
    make_old: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for days in range(31, 36):
        make_old(days)
    chain.link()
    left = retention.prune(seconds=-1)
    assert (left.executions, left.files, left.is_complete) == (2, 2, False)
    done = retention.prune()
    assert (done.executions, done.is_complete) == (3, True)


def test_a_look_that_finds_nothing_is_complete_however_long_it_takes(make_old: Make) -> None:
    make_old(1)
    chain.link()
    assert retention.prune(seconds=-1).is_complete


def test_the_row_of_a_file_stays_as_long_as_its_execution(
    make_old: Make, settings: Settings
) -> None:
    run = make_old(31)
    file = SandboxFile.objects.get(session=run.session)
    settings.AUDIT_KEEP_EXECUTIONS_DAYS = 0
    prune()
    assert SandboxFile.objects.filter(pk=file.pk).exists()
    settings.AUDIT_KEEP_EXECUTIONS_DAYS = 20
    prune()
    assert not SandboxFile.objects.filter(pk=file.pk).exists()


@pytest.mark.django_db(transaction=True)
def test_two_may_prune_at_once(make_old: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for number in range(12):
        make_old(31 + number)
    together = Barrier(2)

    def prune_with_the_other() -> retention.Pruned:
        together.wait()
        try:
            chain.link()
            return retention.prune()
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(prune_with_the_other) for _ in range(2)]
        first, second = (one.result() for one in done)
    assert first.executions + second.executions == 12
    assert not Execution.objects.exists()
    # What one had locked when the other came by is gone with the next pass at the latest.
    retention.prune()
    assert not SandboxFile.objects.exclude(deleted_at=None).exists()
    well, said = verify()
    assert well, said


@pytest.mark.parametrize("days", [-1.0, float("nan"), float("inf")])
def test_what_is_no_number_of_days_is_refused_at_start(settings: Settings, days: float) -> None:
    settings.AUDIT_KEEP_TEXTS_DAYS = days
    [found] = [error for error in run_checks() if error.id == "audit.E002"]
    assert "AUDIT_KEEP_TEXTS_DAYS" in found.msg
