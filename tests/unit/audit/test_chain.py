"""What was done to the executions behind our back is found, and told from what retention did."""

from __future__ import annotations

import json
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from io import StringIO
from threading import Barrier
from typing import Any

import pytest
from django.contrib.admin import site
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.db.models import F, Model
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from audit import canonical, chain, texts
from audit.models import (
    AuditEntry,
    Execution,
    SandboxContainer,
    SandboxFile,
    SandboxSession,
)
from tests.unit.audit.conftest import Make

pytestmark = pytest.mark.django_db

Kind = AuditEntry.Kind
# Hypothesis gives them their zones itself.
FIRST, LAST = datetime(1970, 1, 2), datetime(2200, 1, 1)  # noqa: DTZ001
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def runs(make_run: Make) -> list[Execution]:
    """Five, a second apart, and linked."""
    made = [
        make_run(text=f"run {number}", ended_at=NOON + timedelta(seconds=number))
        for number in range(1, 6)
    ]
    assert chain.link().count == 5
    return made


def verify(*arguments: str) -> tuple[bool, str]:
    """Whether all was well, and what was said."""
    out = StringIO()
    status = 0
    try:
        call_command("verifyaudit", *arguments, stdout=out)
    except CommandError as error:
        status = error.returncode
        out.write(str(error))
    assert status in (0, 1)
    return status == 0, out.getvalue()


def tamper(statement: str) -> None:
    """As somebody with the database does it."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_auditentry DISABLE TRIGGER written_once")
        cursor.execute(statement)
        cursor.execute("ALTER TABLE audit_auditentry ENABLE TRIGGER written_once")


def head() -> str:
    entry = chain.head()
    assert entry
    return entry.hash


class TestLinking:
    def test_executions_are_linked_in_the_order_in_which_they_ended(
        self, runs: list[Execution]
    ) -> None:
        entries = list(AuditEntry.objects.all())
        assert [entry.execution_id for entry in entries] == [run.pk for run in runs]
        assert [entry.number for entry in entries] == [1, 2, 3, 4, 5]
        hashes = [canonical.GENESIS, *(entry.hash for entry in entries)]
        assert [entry.previous_hash for entry in entries] == hashes[:-1]
        assert chain.link().count == 0
        well, said = verify()
        assert well, said
        assert "5 executions" in said
        assert f"head: entry 5 {head()}" in said

    def test_one_that_still_runs_is_linked_when_it_has_ended(self, make_run: Make) -> None:
        running = make_run(status=Execution.Status.RUNNING, ended_at=None)
        first = chain.link()
        assert first.count == 0
        assert first.complete_until is not None
        assert first.complete_until < running.created_at
        assert running.abort("The server stopped.")
        assert chain.link(first.complete_until).count == 1
        assert verify()[0]

    def test_a_look_at_the_newest_ones_leaves_the_old_to_a_look_at_all(
        self, make_run: Make
    ) -> None:
        run = make_run(ended_at=NOON)
        assert chain.link(run.created_at + timedelta(seconds=1)).count == 0
        assert chain.link(run.created_at).count == 1

    def test_what_the_time_does_not_suffice_for_is_left_for_the_next_time(
        self, make_run: Make
    ) -> None:
        make_run(ended_at=NOON)
        assert chain.link(seconds=-1) == chain.Linked(0, None)
        assert chain.link().count == 1

    @pytest.mark.django_db(transaction=True)
    def test_many_may_link_at_once(self, make_run: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chain, "BATCH", 3)
        for number in range(20):
            make_run(text=str(number), ended_at=NOON + timedelta(seconds=number))
        together = Barrier(4)

        def link() -> int:
            together.wait()
            try:
                return chain.link().count
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            counts = [pool.submit(link) for _ in range(4)]
            assert sum(count.result() for count in counts) == 20
        well, said = verify()
        assert well, said

    def test_an_entry_is_written_once(self, runs: list[Execution]) -> None:
        with pytest.raises(DatabaseError, match="written once"), transaction.atomic():
            AuditEntry.objects.update(ended_at=None)
        with pytest.raises(DatabaseError, match="written once"), transaction.atomic():
            AuditEntry.objects.all().delete()


class TestAdmin:
    def test_an_execution_shows_its_place_in_the_chain(
        self, make_run: Make, admin_client: Client
    ) -> None:
        run = make_run(ended_at=NOON)
        url = reverse("admin:audit_execution_change", args=(run.pk,))
        assert "not linked yet" in admin_client.get(url).content.decode()
        chain.link()
        page = admin_client.get(url).content.decode()
        assert head() in page
        assert "not linked yet" not in page

    @pytest.mark.parametrize("record", [Execution, SandboxSession, SandboxFile, SandboxContainer])
    def test_nobody_changes_or_removes_a_record_there(
        self, make_run: Make, admin_client: Client, record: type[Model]
    ) -> None:
        """Not even a superuser. A session can be made to expire, by an action of its own."""
        make_run(ended_at=NOON)
        before = list(record._default_manager.values())
        name = f"admin:audit_{record._meta.model_name}"
        for row in record._default_manager.all():
            for page in ("change", "delete"):
                url = reverse(f"{name}_{page}", args=(row.pk,))
                assert admin_client.post(url, {"post": "yes", "code": "x"}).status_code == 403
        chosen = {"_selected_action": [row["id"] for row in before], "action": "delete_selected"}
        admin_client.post(reverse(f"{name}_changelist"), chosen | {"post": "yes"})
        assert admin_client.get(reverse(f"{name}_add")).status_code == 403
        assert list(record._default_manager.values()) == before

    def test_a_key_with_executions_is_not_removed_there(
        self, runs: list[Execution], admin_client: Client
    ) -> None:
        url = reverse("admin:keys_apikey_delete", args=(runs[0].key_id,))
        assert admin_client.post(url, {"post": "yes"}).status_code == 403

    def test_entries_have_no_page(self) -> None:
        assert not site.is_registered(AuditEntry)


CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "code": ("code", {"code": "print('innocent')"}),
    "args": ("args", {"args": ["other"]}),
    "stdout": ("stdout", {"stdout": ""}),
    "stderr": ("stderr", {"stderr": "other"}),
    "user": ("facts", {"user_id": "somebody else"}),
    "status": ("facts", {"status": "failed"}),
    "exit code": ("facts", {"exit_code": 3}),
    "address": ("facts", {"client_address": "10.0.0.1"}),
    "time": ("facts", {"created_at": NOON}),
    "running again": ("facts", {"status": "running"}),
    "said to be not stored": ("code, args", {"code": "", "args": [], "code_record": "not_stored"}),
    "said to be pruned": (
        "stdout, stderr",
        {"stdout": "", "stderr": "", "output_record": "pruned"},
    ),
}


class TestTampering:
    @pytest.mark.parametrize("change", CHANGES)
    def test_a_changed_row_is_found(self, runs: list[Execution], change: str) -> None:
        parts, fields = CHANGES[change]
        Execution.objects.filter(pk=runs[2].pk).update(**fields)
        well, said = verify()
        assert not well
        assert f"entry 3: execution {runs[2].pk} was changed: {parts}\n" in said
        assert said.count("entry 3:") == 1

    def test_a_missing_row_is_found(self, runs: list[Execution]) -> None:
        Execution.objects.filter(pk=runs[2].pk).delete()
        well, said = verify()
        assert not well
        assert f"entry 3: execution {runs[2].pk} is missing\n" in said

    def test_a_row_that_is_inserted_into_the_past_is_found(
        self, runs: list[Execution], make_run: Make
    ) -> None:
        inserted = make_run(text="never happened", ended_at=NOON - timedelta(hours=1))
        well, said = verify()
        assert not well
        assert f"entry 6: execution {inserted.pk} was inserted later" in said

    def test_small_differences_of_clocks_are_no_insertion(
        self, runs: list[Execution], make_run: Make
    ) -> None:
        make_run(text="late", ended_at=NOON - timedelta(minutes=5))
        assert verify()[0]

    def test_an_inserted_entry_is_found(self, runs: list[Execution], make_run: Make) -> None:
        """With a hash that is right for its place."""
        inserted = make_run(text="never happened", ended_at=NOON + timedelta(seconds=2))
        tamper("UPDATE audit_auditentry SET number = number + 10 WHERE number > 2")
        tamper("UPDATE audit_auditentry SET number = number - 9 WHERE number > 10")
        before = AuditEntry.objects.get(number=2)
        forged = chain.following(
            before,
            kind=Kind.EXECUTION,
            execution_id=inserted.pk,
            ended_at=inserted.ended_at,
            digests=canonical.digests(inserted),
        )
        forged.save(force_insert=True)
        well, said = verify()
        assert not well
        assert "entry 4: reordered: it was linked after what is entry 2\n" in said

    def test_entries_that_changed_places_are_found(self, runs: list[Execution]) -> None:
        tamper("UPDATE audit_auditentry SET number = 99 WHERE number = 3")
        tamper("UPDATE audit_auditentry SET number = 3 WHERE number = 4")
        tamper("UPDATE audit_auditentry SET number = 4 WHERE number = 99")
        well, said = verify()
        assert not well
        assert "entry 3: reordered: it was linked after what is entry 4\n" in said
        assert "entry 4: reordered: it was linked after what is entry 2\n" in said

    def test_missing_entries_are_found(self, runs: list[Execution]) -> None:
        tamper("DELETE FROM audit_auditentry WHERE number IN (2, 3)")
        well, said = verify()
        assert not well
        assert "entry 4: entries 2 to 3 are missing before it" in said

    def test_a_missing_beginning_is_found(self, runs: list[Execution]) -> None:
        ids = [run.pk for run in runs[:2]]
        tamper("DELETE FROM audit_auditentry WHERE number < 3")
        tamper("UPDATE audit_auditentry SET number = number - 2")
        Execution.objects.filter(pk__in=ids).delete()
        well, said = verify()
        assert not well
        assert "entry 1: it is not the first entry" in said

    @pytest.mark.parametrize(
        "change",
        [
            "digests = jsonb_set(digests, '{code}', '\"0\"')",
            "execution_id = 'somebody-elses-run-id'",
            "ended_at = now()",
            "linked_at = now()",
            "kind = 'rows_pruned', through = 5",
            "keyed = true",
        ],
    )
    def test_a_changed_entry_is_found(
        self, runs: list[Execution], settings: Settings, change: str
    ) -> None:
        settings.AUDIT_CHAIN_KEY = "given later"
        tamper(f"UPDATE audit_auditentry SET {change} WHERE number = 3")  # noqa: S608 - ours
        well, said = verify()
        assert not well
        assert "entry 3: the entry was changed" in said

    def test_a_chain_written_anew_is_found_by_the_head_that_was_kept(
        self, runs: list[Execution]
    ) -> None:
        kept = head()
        assert "the given head is entry 5" in verify("--head", kept)[1]
        Execution.objects.filter(pk=runs[1].pk).update(code="print('innocent')")
        tamper("DELETE FROM audit_auditentry WHERE number > 1")
        # Linked again by the keeper, it is a chain like any other: this is what it cannot show.
        well, said = verify()
        assert well, said
        well, said = verify("--head", kept)
        assert not well
        assert f"the head {kept} is not in the chain" in said

    def test_an_earlier_head_stays_in_the_chain(
        self, runs: list[Execution], make_run: Make
    ) -> None:
        kept = head()
        make_run(text="another", ended_at=NOON + timedelta(minutes=1))
        well, said = verify("--head", kept)
        assert well, said
        assert "the given head is entry 5" in said
        assert "head: entry 6" in said

    def test_what_is_no_head_is_refused(self) -> None:
        with pytest.raises(CommandError, match="a head is 64 digits"):
            call_command("verifyaudit", "--head", "abc")

    def test_of_many_findings_the_first_are_shown(self, make_run: Make) -> None:
        for number in range(105):
            make_run(text=str(number), ended_at=NOON)
        chain.link()
        Execution.objects.update(exit_code=F("exit_code"), message="other")
        well, said = verify()
        assert not well
        assert said.count("was changed") == 100
        assert "and 5 more" in said


class TestKey:
    """Hashes that only who has the key can make."""

    def test_a_chain_with_a_key(self, make_run: Make, settings: Settings) -> None:
        settings.AUDIT_CHAIN_KEY = "only the server has it"
        make_run(ended_at=NOON)
        assert verify()[0]
        settings.AUDIT_CHAIN_KEY = "another one"
        well, said = verify()
        assert not well
        assert "entry 1: the entry was changed" in said
        settings.AUDIT_CHAIN_KEY = ""
        with pytest.raises(CommandError, match="set AUDIT_CHAIN_KEY"):
            call_command("verifyaudit")

    def test_a_key_may_come_later_but_does_not_go_again(
        self, runs: list[Execution], make_run: Make, settings: Settings
    ) -> None:
        settings.AUDIT_CHAIN_KEY = "only the server has it"
        make_run(text="keyed", ended_at=NOON + timedelta(minutes=1))
        well, said = verify()
        assert well, said
        assert "5 entries were made without a key" in said
        settings.AUDIT_CHAIN_KEY = ""
        make_run(text="forged", ended_at=NOON + timedelta(minutes=2))
        chain.link()
        settings.AUDIT_CHAIN_KEY = "only the server has it"
        well, said = verify()
        assert not well
        assert "entry 7: it was made without the key, unlike the one before it" in said

    def test_nobody_can_guess_at_a_text_without_it(self, make_run: Make) -> None:
        run = make_run()
        assert canonical.digests(run, "a")["code"] != canonical.digests(run, "b")["code"]
        assert canonical.digests(run, "a")["code"] != canonical.digests(run)["code"]


class TestLongTexts:
    """Code may be as long as a request, and several rows come at a time."""

    def test_they_are_linked_and_verified_in_bounded_memory(self, make_run: Make) -> None:
        code = "print('needle')\n" * 2_500_000
        run = make_run(code=code, stderr="x" * 300_000)
        tracemalloc.start()
        try:
            assert chain.link().count == 1
            well, said = verify()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert well, said
        assert peak < 30_000_000
        assert AuditEntry.objects.get().digests == canonical.digests(run)

    def test_a_change_at_the_end_is_found(
        self, make_run: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(texts, "PART", 100_000)
        run = make_run(code="é" * 450_000)
        chain.link()
        Execution.objects.filter(pk=run.pk).update(code="é" * 449_999 + "e")
        well, said = verify()
        assert not well
        assert f"{run.pk} was changed: code" in said

    def test_one_that_is_there_again_is_found(self, make_run: Make) -> None:
        run = make_run(stdout="x" * 300_000)
        chain.link()
        with transaction.atomic():
            chain.lock()
            last = chain.head()
            chain.following(last, kind=Kind.TEXTS_PRUNED, through=1).save(force_insert=True)
        well, said = verify()
        assert not well
        assert f"{run.pk} has stdout again" in said


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


class TestCanonicalForm:
    @given(value=JSON)
    def test_it_says_all_of_the_value(self, value: object) -> None:
        assert json.loads(canonical.canonical(value)) == value

    @given(value=st.dictionaries(st.text(), JSON))
    def test_the_order_of_keys_does_not_count(self, value: dict[str, object]) -> None:
        backwards = dict(reversed(value.items()))
        assert canonical.canonical(backwards) == canonical.canonical(value)

    @given(moment=st.datetimes(min_value=FIRST, max_value=LAST))
    def test_a_moment_is_the_same_in_every_zone(self, moment: datetime) -> None:
        utc = moment.replace(tzinfo=UTC)
        elsewhere = utc.astimezone(timezone(timedelta(hours=5, minutes=30)))
        assert canonical.canonical(elsewhere) == canonical.canonical(utc)

    @given(code=st.text(), other=st.text())
    def test_texts_are_told_apart_by_content_and_by_place(self, code: str, other: str) -> None:
        mine = canonical.digests(Execution(code=code, stdout=code))
        assert mine["code"] != mine["stdout"]
        theirs = canonical.digests(Execution(code=other))
        assert (mine["code"] == theirs["code"]) is (code == other)

    @given(text=st.text(), length=st.integers(1, 5), key=st.sampled_from(["", "key"]))
    def test_slices_have_the_digest_of_the_whole(self, text: str, length: int, key: str) -> None:
        whole = {"format": canonical.FORMAT, "text": "code", "value": text}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(texts, "SLICE", length)
            found = canonical.digests(Execution(code=text), key)
        assert found["code"] == canonical.digest(whole, key)

    def test_what_has_no_canonical_form_is_refused(self) -> None:
        with pytest.raises(TypeError, match="set has no canonical form"):
            canonical.canonical({1})
        with pytest.raises(ValueError, match="not JSON compliant"):
            canonical.canonical(float("nan"))

    def test_it_is_what_it_was(self) -> None:
        """Written down once: entries of years ago depend on it."""
        moment = datetime(2026, 11, 25, 21, 54, 18, 30, tzinfo=UTC)
        value = {"b": [1, 2.5, None, True], "a": "é\n", "at": moment}
        expected = b'{"a":"\\u00e9\\n","at":"2026-11-25T21:54:18.000030Z","b":[1,2.5,null,true]}'
        assert canonical.canonical(value) == expected
        assert canonical.digest("a") == (
            "ac8d8342bbb2362d13f0a559a3621bb407011368895164b628a54f7fc33fc43c"
        )

    def test_a_text_that_was_not_stored_is_not_an_empty_one(self) -> None:
        empty = canonical.digests(Execution(code=""))
        missing = canonical.digests(Execution(code="", code_record="not_stored"))
        assert empty["code"] is not None
        assert (missing["code"], missing["args"]) == (None, None)
        assert missing["stdout"] == empty["stdout"]
