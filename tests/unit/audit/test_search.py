from __future__ import annotations

import tracemalloc
from datetime import timedelta
from zlib import crc32

import pytest
from django.db import connection
from django.db.models import Q
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from audit import search
from audit.models import Execution, SandboxFile, SearchEntry, SearchProgress
from audit.search import Scope
from sandbox.upkeep import Upkeep
from tests.fakes.engine import FakeEngine
from tests.unit.audit.conftest import Make

pytestmark = pytest.mark.django_db

EVERYTHING = Scope()
PLACES = {
    "code": {"code": "import Needle_x\n"},
    "stdout": {"stdout": "a needle_x"},
    "stderr": {"stderr": "needle_xError"},
    "user": {"user_id": "needle_x7"},
    "a file it wrote": {"name": "out/needle_x.csv"},
}


def found(phrase: str, scope: Scope = EVERYTHING) -> set[str]:
    return {run.pk for run in search.find(Execution.objects.all(), phrase, scope)}


@pytest.mark.parametrize("fields", PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize("is_noted", [False, True])
def test_a_run_is_found_before_and_after_it_is_noted(
    make_run: Make, fields: dict[str, str], is_noted: bool
) -> None:
    make_run()
    wanted = make_run(**fields)
    if is_noted:
        assert search.note_ended() == 2
        assert not search.unnoted().exists()
    assert found("NEEDLE_X") == {wanted.pk}
    assert found("needle_y") == set()


def test_only_candidates_are_read(make_run: Make) -> None:
    """The trigrams of both, and the phrase in one of them."""
    wanted = make_run(code="x = abcde")
    make_run(code="x = abc, bcd, cde")
    search.note_ended()
    assert found("abcde") == {wanted.pk}
    # What has no trigrams noted is no candidate, whatever its code is now.
    SearchEntry.objects.filter(pk=wanted.pk).update(code=[])
    assert found("abcde") == set()


def test_what_is_common_is_found_without_candidates(
    make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "FEW", 2)
    runs = [make_run(code="needle") for _ in range(4)]
    by_file = make_run(name="needle.csv")
    assert found("needle") == {by_file.pk, *(run.pk for run in runs)}
    search.note_ended()
    assert found("needle") == {by_file.pk, *(run.pk for run in runs)}
    assert found("needle", Scope(files=False)) == {run.pk for run in runs}


HIDDEN = [
    ({"code": "needle"}, Scope(code=False)),
    ({"stdout": "needle"}, Scope(output=False)),
    ({"stderr": "needle"}, Scope(output=False)),
    ({"name": "needle.csv"}, Scope(files=False)),
]


@pytest.mark.parametrize(("fields", "scope"), HIDDEN)
@pytest.mark.parametrize("is_noted", [False, True])
@pytest.mark.parametrize("few", [0, 100])
def test_what_is_hidden_is_not_found(
    make_run: Make,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, str],
    scope: Scope,
    is_noted: bool,
    few: int,
) -> None:
    monkeypatch.setattr(search, "FEW", few)
    run = make_run(**fields)
    if is_noted:
        search.note_ended()
    assert found("needle", scope) == set()
    assert found("needle") == {run.pk}


def test_two_letters_are_a_user(make_run: Make) -> None:
    run = make_run(user_id="al")
    make_run(code="al", user_id="albert")
    assert found("al") == {run.pk}


def test_a_run_is_noted_when_it_has_ended(make_run: Make) -> None:
    long_ago = timezone.now() - timedelta(hours=3)
    running = make_run(status=Execution.Status.RUNNING, created_at=long_ago)
    ended = make_run(created_at=long_ago + timedelta(hours=1))
    assert search.note_ended() == 1
    assert SearchEntry.objects.get().pk == ended.pk
    assert SearchProgress.reached() == running.created_at
    assert [run.pk for run in search.unnoted()] == [running.pk]
    Execution.objects.filter(pk=running.pk).update(status="succeeded", stdout="needle")
    assert search.note_ended() == 1
    assert found("needle") == {running.pk}
    reached = SearchProgress.reached()
    assert reached is not None
    assert reached > ended.created_at


def test_a_row_that_comes_late_is_noted(make_run: Make) -> None:
    """Another server's clock may be behind, or its commit slow."""
    make_run()
    search.note_ended()
    late = make_run(code="needle", created_at=timezone.now() - timedelta(minutes=9))
    assert found("needle") == {late.pk}
    assert search.note_ended() == 1
    assert found("needle") == {late.pk}


def test_progress_never_goes_back() -> None:
    now = timezone.now()
    search._reach(now)
    search._reach(now - timedelta(hours=1))
    assert SearchProgress.reached() == now


def test_all_are_noted_in_batches_of_bounded_size(
    make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "BATCH", 3)
    monkeypatch.setattr(search, "BATCH_BYTES", 2500)
    runs = [make_run(stdout="x" * 1000) for _ in range(8)]
    assert len(search._batch(search.unnoted())) == 2
    assert search.note_ended(seconds=3600) == len(runs)
    assert SearchEntry.objects.count() == len(runs)


def test_what_is_longer_than_a_batch_is_noted_as_well(
    make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "BATCH_BYTES", 10)
    run = make_run(stdout="needle" * 100)
    assert search.note_ended() == 1
    assert found("needle") == {run.pk}


LONG = {"code": {"code": "needle" * 100}, "output": {"stderr": "needle" * 100, "stdout": ""}}


@pytest.mark.parametrize("array", LONG)
def test_what_is_very_long_is_always_a_candidate(
    make_run: Make, monkeypatch: pytest.MonkeyPatch, array: str
) -> None:
    monkeypatch.setattr(search, "LONGEST", 500)
    run = make_run(**LONG[array])
    make_run()
    search.note_ended()
    assert getattr(SearchEntry.objects.get(pk=run.pk), array) is None
    assert found("needle") == {run.pk}
    assert found("needles") == set()
    assert found("needle", Scope(code=array != "code", output=array != "output")) == set()


def test_what_has_nearly_all_trigrams_is_always_a_candidate(make_run: Make) -> None:
    """An entry of 65,536 numbers would lead to it as often, and cost as many of the index."""
    run = make_run(stdout="".join(map(chr, range(0x100, 0xD7FF))) + "needle")
    make_run()
    search.note_ended()
    assert SearchEntry.objects.get(pk=run.pk).output is None
    assert found("needle") == {run.pk}


def test_a_text_of_any_length_is_noted_in_bounded_memory(make_run: Make) -> None:
    """One character that is not of the basic plane makes all the others four bytes long."""
    code = make_run(code="print('needle')\n" * 750_000 + "\N{PILE OF POO}")
    output = make_run(stdout="print('needle')\n" * 60_000 + "\N{PILE OF POO}")
    tracemalloc.start()
    try:
        assert search.note_ended(seconds=3600) == 2
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000
    assert found("needle") == {code.pk, output.pk}


def test_only_what_the_filters_leave_is_read(make_run: Make) -> None:
    """Or a filter would not make a search any faster."""
    other = make_run(code="needle", language="js")
    wanted = make_run(code="needle", language="py")
    search.note_ended()
    with CaptureQueriesContext(connection) as queries:
        runs = search.find(Execution.objects.filter(language="py"), "needle", EVERYTHING)
    reading = [query["sql"] for query in queries if "UPPER" in query["sql"]]
    assert reading
    assert not any(other.pk in sql for sql in reading)
    assert [run.pk for run in runs] == [wanted.pk]


def test_a_run_that_was_changed_is_noted_anew(make_run: Make) -> None:
    run = make_run(code="secret", stdout="secret")
    search.note_ended()
    Execution.objects.filter(pk=run.pk).update(code="gone", stdout="")
    search.note(Execution.objects.filter(pk=run.pk))
    entry = SearchEntry.objects.get(pk=run.pk)
    assert entry.code is not None
    assert entry.output is not None
    assert entry.code == search.trigrams("gone")
    assert not set(search.trigrams("secret")) & {*entry.code, *entry.output}


def test_an_entry_goes_with_its_run_also_past_django(make_run: Make) -> None:
    run = make_run()
    search.note_ended()
    SandboxFile.objects.filter(execution=run).update(execution=None)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM audit_execution WHERE id = %s", [run.pk])
    assert not SearchEntry.objects.exists()


def test_the_keeper_notes_what_has_ended(make_run: Make, fake: FakeEngine) -> None:
    run = make_run()
    Upkeep().pass_once()
    assert SearchEntry.objects.get().pk == run.pk


def test_candidates_are_looked_up_in_an_index(make_run: Make) -> None:
    make_run()
    search.note_ended()
    wanted = search.trigrams("needle")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    entries = SearchEntry.objects.filter(
        Q(code__contains=wanted)
        | Q(code=None)
        | Q(output__contains=wanted)
        | Q(output=None)
        | Q(files=None)
    )
    plan = entries.explain()
    assert "execution_search " in plan
    assert "execution_search_always" in plan


@given(st.text(), st.text(), st.text())
def test_what_is_in_a_text_has_its_trigrams(before: str, phrase: str, after: str) -> None:
    assert set(search.trigrams(phrase)) <= set(search.trigrams(before + phrase + after))


@given(st.text(), st.integers(1, 5))
def test_a_text_in_slices_has_the_trigrams_of_the_whole(text: str, length: int) -> None:
    whole = search.folded(text)
    trios = {whole[at : at + 3] for at in range(len(whole) - 2)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "SLICE", length)
        # What is noted already was numbered like this.
        assert search.trigrams(text) == sorted({crc32(trio) % 2**16 - 2**15 for trio in trios})


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_what_the_database_takes_for_the_same_has_the_same_trigrams(text: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT upper(%s)", [text])
        (upper,) = cursor.fetchone()
    assert search.trigrams(upper) == search.trigrams(text)


def test_noise_fills_no_more_than_the_numbers_there_are() -> None:
    noise = "".join(map(chr, range(0x100, 0xD7FF)))
    numbers = search.trigrams(noise)
    assert len(numbers) == len(set(numbers)) <= 2**16
    assert -(2**15) <= min(numbers) <= max(numbers) < 2**15
