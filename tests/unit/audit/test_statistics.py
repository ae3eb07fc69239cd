from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from audit.models import Execution, HourlyCount, HourlyDurations, RolledUpHour
from audit.statistics.durations import (
    BUCKET,
    RELATIVE_ERROR,
    added,
    bucket_of,
    lowest,
    percentile,
)
from audit.statistics.facets import FAILURE, LANGUAGE, LIMIT, SOURCE, USER, Facet
from audit.statistics.hours import HOUR
from audit.statistics.periods import CHOICES, Period
from audit.statistics.reading import Statistics
from audit.statistics.rolling import BATCH, GRACE, roll_up
from keys.models import APIKey
from tests.unit.audit.conftest import Make
from tests.unit.audit.runs import between, count, nearest_rank, random_runs

# The day after Berlin's clocks went back.
NOW = datetime(2026, 10, 26, 14, 37, 5, tzinfo=UTC)
ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns")
# And what floating point adds where a duration is a bucket's last.
OFF = RELATIVE_ERROR + 1e-9
Status = Execution.Status


def check(runs: list[Execution], period: Period, keys: tuple[int, ...] | None = None) -> None:
    """Every number against a plain reading of the rows."""
    statistics = Statistics(period, keys)
    mine = [run for run in runs if keys is None or run.key_id in keys]
    inside = between(mine, period.begin, period.end)
    assert statistics.statuses == Counter(run.status for run in inside)
    bins = [between(mine, begin, end) for begin, end in period.bins]
    assert statistics.statuses_by_bin == [Counter(run.status for run in of_bin) for of_bin in bins]
    assert sum(statistics.runs_by_hour.values()) == len(inside)
    for of_bin, histogram in zip(bins, statistics.durations_by_bin, strict=True):
        compare_durations(of_bin, histogram)
    compare_durations(inside, added(statistics.durations_by_bin))
    if keys is not None:
        return
    assert dict(statistics.busiest_keys(99)) == Counter(run.key_id for run in inside)
    counted: dict[Facet, Counter[str]] = {
        LANGUAGE: count(inside, lambda run: run.language),
        SOURCE: count(inside, lambda run: run.container_source),
        USER: count(inside, lambda run: run.user_id),
        LIMIT: Counter(limit for run in inside for limit in run.limits_hit),
        FAILURE: count(
            (run for run in inside if run.status not in (Status.SUCCEEDED, Status.RUNNING)),
            lambda run: f"{run.status} {run.message}",
        ),
    }
    for facet, numbers in counted.items():
        assert dict(statistics.most(facet, 99)) == numbers, facet.name


def compare_durations(runs: Iterable[Execution], histogram: dict[int, int]) -> None:
    taken = [run.wall_ms for run in runs if run.wall_ms is not None]
    assert sum(histogram.values()) == len(taken)
    for percent in (50, 95, 99) if taken else ():
        told, exact = percentile(histogram, percent), nearest_rank(taken, percent)
        assert told is not None
        assert told.milliseconds == pytest.approx(exact, rel=OFF)
        assert told.runs == sum(ms >= told.at_least for ms in taken)


def everything(now: datetime) -> None:
    while roll_up(batch=500, now=now):
        pass


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ZONES)
def test_numbers_are_those_of_the_rows_before_while_and_after_they_are_rolled_up(
    settings: Settings, zone: str
) -> None:
    settings.TIME_ZONE = zone
    runs = random_runs(400, NOW, days=33, seed=ZONES.index(zone))
    periods = [choice.make(NOW) for choice in CHOICES.values()]
    key = runs[0].key_id
    for rolled_up in (0, 20, 400):
        if rolled_up:
            assert roll_up(batch=rolled_up, now=NOW) == rolled_up
        for period in periods:
            check(runs, period)
            check(runs, period, (key, key + 1))
            check(runs, period, ())
    everything(NOW)
    assert RolledUpHour.objects.count() > 700
    for period in periods:
        check(runs, period)


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ZONES)
def test_days_and_hours_are_the_zones_own(settings: Settings, zone: str) -> None:
    settings.TIME_ZONE = zone
    local = ZoneInfo(zone)
    month = CHOICES["month"].make(NOW)
    assert len(month.bins) == 30
    assert {edge.astimezone(local).strftime("%H:%M") for edge in month.edges} == {"00:00"}
    assert month.begin < NOW - 29 * timedelta(days=1) < NOW < month.end
    week = CHOICES["week"].make(NOW)
    assert {edge.astimezone(local).hour for edge in week.edges} == {0, 6, 12, 18}
    day = CHOICES["day"].make(NOW)
    assert {edge.astimezone(local).minute for edge in day.edges} == {0}
    assert len(day.bins) == 24
    hour = CHOICES["hour"].make(NOW)
    assert hour.end - hour.begin == HOUR
    for period in (month, week, day, hour):
        assert period.begin < NOW < period.end
        assert [period.bin_of(begin) for begin, _ in period.bins] == list(range(len(period.bins)))


def test_a_day_has_the_hours_that_the_clocks_give_it(settings: Settings) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    days = CHOICES["month"].make(NOW).bins
    lengths = {
        begin.astimezone(ZoneInfo("Europe/Berlin")).date(): end - begin for begin, end in days
    }
    assert lengths.pop(datetime(2026, 10, 25, tzinfo=UTC).date()) == 25 * HOUR
    assert set(lengths.values()) == {24 * HOUR}


@pytest.mark.django_db
def test_the_keeper_does_a_bounded_part_at_a_time_and_an_hour_once(make_run: Make) -> None:
    make_run(created_at=NOW - 3 * HOUR, wall_ms=5)
    assert roll_up(now=NOW) == BATCH
    everything(NOW)
    assert roll_up(now=NOW) == 0
    assert HourlyCount.objects.filter(facet="outcome").count() == 1
    # Of its key, and of all.
    assert HourlyDurations.objects.count() == 2


@pytest.mark.django_db
def test_an_hour_is_left_alone_until_it_is_over_and_all_of_its_runs_have_ended(
    make_run: Make,
) -> None:
    """One that began before the hour's end and ended after it counts as what it came to."""
    hour = NOW.replace(minute=0, second=0)
    run = make_run(created_at=hour - timedelta(seconds=5), status=Status.RUNNING, wall_ms=None)
    everything(hour + GRACE - timedelta(seconds=1))
    assert not RolledUpHour.objects.filter(hour=hour - HOUR).exists()
    everything(NOW)
    assert RolledUpHour.objects.filter(hour=hour - 2 * HOUR).exists()
    assert not RolledUpHour.objects.filter(hour__gte=hour - HOUR).exists()
    period = CHOICES["day"].make(NOW)
    assert Statistics(period).statuses == {"running": 1}

    run.status, run.wall_ms, run.ended_at = Status.TIMED_OUT, 30_000, hour + timedelta(seconds=25)
    run.save()
    assert Statistics(period).statuses == {"timed_out": 1}
    everything(NOW)
    assert RolledUpHour.objects.filter(hour=hour - HOUR).exists()
    check([run], period)


@pytest.mark.django_db
def test_what_changes_later_is_counted_anew() -> None:
    """Pruned, written late, redacted; a key with all that it did."""
    runs = random_runs(200, NOW, days=3, seed=3)
    week = CHOICES["week"].make(NOW)
    everything(NOW)
    check(runs, week)

    gone = {run.pk for run in runs[::7]}
    Execution.objects.filter(pk__in=gone).delete()
    runs = [run for run in runs if run.pk not in gone]
    check(runs, week)
    everything(NOW)
    check(runs, week)

    Execution.objects.filter(user_id="bob").update(user_id="")
    late = Execution(
        key=runs[0].key, session=runs[0].session, language="js", created_at=NOW - 30 * HOUR
    )
    late.save()
    for run in runs:
        run.user_id = run.user_id.replace("bob", "")
    runs.append(late)
    check(runs, week)
    everything(NOW)
    check(runs, week)
    late.abort("The server stopped during the run")
    late.refresh_from_db()
    check(runs, week)

    key = runs[0].key_id
    Execution.objects.filter(key=key).delete()
    runs[0].key.sessions.all().delete()
    APIKey.objects.get(pk=key).delete()
    runs = [run for run in runs if run.key_id != key]
    check(runs, week)
    everything(NOW)
    check(runs, week)


@pytest.mark.django_db
def test_what_no_number_depends_on_leaves_an_hour_counted(make_run: Make) -> None:
    run = make_run(created_at=NOW - 3 * HOUR)
    everything(NOW)
    before = RolledUpHour.objects.count()
    Execution.objects.filter(pk=run.pk).update(code="", stdout="", stderr="", status=run.status)
    assert RolledUpHour.objects.count() == before
    Execution.objects.filter(pk=run.pk).update(created_at=NOW - 5 * HOUR)
    assert RolledUpHour.objects.count() == before - 2


@pytest.mark.django_db
def test_another_time_zone_makes_other_hours(settings: Settings) -> None:
    runs = random_runs(200, NOW, days=3, seed=4)
    everything(NOW)
    settings.TIME_ZONE = "Asia/Kolkata"
    check(runs, CHOICES["week"].make(NOW))
    everything(NOW)
    assert {hour.minute for hour in RolledUpHour.objects.values_list("hour", flat=True)} == {30}
    check(runs, CHOICES["week"].make(NOW))


@pytest.mark.django_db
def test_what_is_older_than_any_period_is_forgotten(make_run: Make) -> None:
    make_run(created_at=NOW - 5 * HOUR, wall_ms=7)
    everything(NOW)
    everything(NOW + timedelta(days=40))
    assert not RolledUpHour.objects.filter(hour__lt=NOW).exists()
    assert not HourlyCount.objects.exists()
    assert not HourlyDurations.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_several_keepers_count_an_hour_once() -> None:
    now = timezone.now()
    runs = random_runs(100, now, days=2, seed=5)
    failures: list[BaseException] = []

    def keep() -> None:
        try:
            while roll_up(batch=60, now=now):
                pass
        except BaseException as error:
            failures.append(error)
            raise
        finally:
            connections.close_all()

    keepers = [threading.Thread(target=keep) for _ in range(3)]
    for keeper in keepers:
        keeper.start()
    for keeper in keepers:
        keeper.join()
    assert failures == []
    check(runs, CHOICES["week"].make(now))


@pytest.mark.django_db(transaction=True)
def test_an_hour_is_not_counted_while_somebody_deletes_from_it(make_run: Make) -> None:
    """The count would have the row still, and the deletion would not know of the count."""
    now = timezone.now()
    run = make_run(created_at=now - 4 * HOUR)
    counted: list[int] = []

    def keep() -> None:
        counted.append(roll_up(batch=500, now=now))
        connections.close_all()

    with transaction.atomic():
        Execution.objects.filter(pk=run.pk).delete()
        keeper = threading.Thread(target=keep)
        keeper.start()
        keeper.join()
    assert counted == [0]
    everything(now)
    assert RolledUpHour.objects.count() > 700
    assert Statistics(CHOICES["day"].make(now)).statuses == {}


@pytest.mark.django_db
def test_postgres_and_python_have_the_same_buckets() -> None:
    numbers = sorted({*range(3000), *(int(1.07**n) for n in range(120, 318)), 2**31 - 1})
    with connection.cursor() as cursor:
        statement = f"SELECT {BUCKET} FROM unnest(%s::int[]) AS wall_ms"  # noqa: S608
        cursor.execute(statement, [numbers])
        assert [row[0] for row in cursor.fetchall()] == [bucket_of(number) for number in numbers]


@given(st.lists(st.integers(0, 2**31 - 1), min_size=1), st.sampled_from([1, 50, 95, 99, 100]))
def test_a_percentile_is_off_by_little_and_what_is_above_it_by_nothing(
    durations: list[int], percent: int
) -> None:
    told = percentile(Counter(map(bucket_of, durations)), percent)
    assert told is not None
    exact = nearest_rank(durations, percent)
    assert told.milliseconds == pytest.approx(exact, rel=OFF)
    assert told.at_least <= exact
    assert told.runs == sum(duration >= told.at_least for duration in durations)


@given(st.integers(0, 2**31 - 1))
def test_the_lowest_number_of_a_bucket_is_in_it(number: int) -> None:
    bucket = bucket_of(number)
    assert bucket_of(lowest(bucket)) == bucket
    assert lowest(bucket) == 0 or bucket_of(lowest(bucket) - 1) < bucket


def test_there_is_no_percentile_of_nothing() -> None:
    assert percentile({}, 50) is None
