from __future__ import annotations

import csv
import io
import json
import re
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audit.admin import export
from audit.admin.export import cell
from audit.admin.searching import TOO_LONG
from audit.models import Execution
from tests.roles import staff
from tests.unit.audit.conftest import Make

pytestmark = pytest.mark.django_db
LIST = reverse("admin:audit_execution_changelist")


def stream(client: Client, kind: str, query: str = "") -> Iterator[bytes]:
    response = client.post(reverse("admin:audit_execution_export", args=(kind,)) + query)
    assert response.status_code == 200
    found: Iterator[bytes] = iter(response.streaming_content)  # type: ignore[attr-defined]
    return found


def exported(client: Client, kind: str, query: str = "") -> list[dict[str, Any]]:
    text = b"".join(stream(client, kind, query)).decode()
    if kind == "csv":
        return list(csv.DictReader(io.StringIO(text, newline="")))
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_the_filtered_list_is_exported(admin_client: Client, make_run: Make, kind: str) -> None:
    make_run()
    failed = make_run(
        status=Execution.Status.FAILED, code="a,\"b\"\r\n'c'", stdout="ü\n", limits_hit=["memory"]
    )
    (row,) = exported(admin_client, kind, "?status__exact=failed")
    # Some ids begin as a formula does.
    assert (row["id"].lstrip("'"), row["status"]) == (failed.pk, "failed")
    assert (row["code"], row["stdout"]) == ("a,\"b\"\r\n'c'", "ü\n")
    assert row["created_at"] == failed.created_at.isoformat()
    assert row["limits_hit"] == ('["memory"]' if kind == "csv" else ["memory"])
    assert row["key"] == "Alice"
    assert {row["id"].lstrip("'") for row in exported(admin_client, kind)} == set(
        Execution.objects.values_list("pk", flat=True)
    )
    assert exported(admin_client, kind, "?q=needle") == []


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_no_cell_is_a_formula(admin_client: Client, make_run: Make, text: str) -> None:
    make_run(text=text, code=text, client_address=None)
    (row,) = exported(admin_client, "csv")
    for name in ("code", "stdout", "stderr", "user", "entity", "message"):
        assert row[name] == f"'{text}"
    assert json.loads(row["args"]) == [text]
    (row,) = exported(admin_client, "jsonl")
    assert row["code"] == text


def test_numbers_stay_numbers() -> None:
    assert [cell(value) for value in (-9, 0, None, "x", "")] == [-9, 0, None, "x", ""]


@time_machine.travel("2026-11-25 12:00Z", tick=False)
def test_it_is_a_file_with_the_date_and_a_line_in_the_log(
    admin_client: Client, make_run: Make
) -> None:
    make_run(language="py")
    address = reverse("admin:audit_execution_export", args=("csv",))
    response = admin_client.post(f"{address}?q=needle+in+code&language=py")
    assert response["Content-Disposition"] == 'attachment; filename="executions-2026-11-25.csv"'
    assert response["X-Content-Type-Options"] == "nosniff"
    entry = LogEntry.objects.get()
    assert entry.object_repr == "executions-2026-11-25.csv"
    assert entry.change_message == "Exported with code and output; language=py, a search."
    assert b"needle" not in b"".join(response.streaming_content)  # type: ignore[attr-defined]


def test_it_has_what_the_role_may_see(client: Client, make_run: Make) -> None:
    make_run(code="needle", stdout="needle")
    client.force_login(staff("key manager"))
    for kind in ("csv", "jsonl"):
        (row,) = exported(client, kind)
        hidden = {"code", "args", "stdout", "stderr", "session", "container"}
        assert row.keys().isdisjoint(hidden)
        assert exported(client, kind, "?q=needle") == []
    assert "neither code nor output" in LogEntry.objects.latest("pk").change_message


def test_one_of_code_and_output_is_exported_without_the_other(
    client: Client, make_run: Make
) -> None:
    make_run()
    user = staff("key manager")
    user.user_permissions.add(Permission.objects.get(codename="view_output"))
    client.force_login(user)
    (row,) = exported(client, "jsonl")
    assert "stdout" in row
    assert "code" not in row


def test_only_a_form_exports_and_only_what_there_is(admin_client: Client, make_run: Make) -> None:
    make_run()
    address = reverse("admin:audit_execution_export", args=("csv",))
    assert admin_client.get(address).status_code == 405
    assert admin_client.post(address.replace("csv", "exe")).status_code == 404
    assert admin_client.post(f"{address}?status__nonsense=1").status_code in (302, 400)
    assert not LogEntry.objects.exists()


def test_the_list_offers_what_it_lists(admin_client: Client, make_run: Make) -> None:
    make_run()
    text = admin_client.get(LIST, {"status__exact": "succeeded", "q": "p&q"}).content.decode()
    actions = re.findall(r'action="([^"]*export[^"]*)"', text)
    query = "?status__exact=succeeded&amp;q=p%26q"
    assert actions == [f"{LIST}export/csv/{query}", f"{LIST}export/jsonl/{query}"]


def many(run: Execution, number: int, bytes_each: int) -> None:
    columns = {str(field.column) for field in Execution._meta.concrete_fields}
    names = ", ".join(sorted(columns - {"id", "stdout"}))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO audit_execution (id, stdout, {names})"  # noqa: S608
            f" SELECT 'copy' || n, repeat(md5(n::text), %s), {names}"
            " FROM audit_execution, generate_series(1, %s) n WHERE id = %s",
            [bytes_each // 32, number, run.pk],
        )


def test_a_search_that_takes_too_long_is_not_exported(
    admin_client: Client, slow_search: None
) -> None:
    address = reverse("admin:audit_execution_export", args=("csv",))
    response = admin_client.post(f"{address}?q=needle&language=py", follow=True)
    assert response.redirect_chain == [(f"{LIST}?language=py", 302)]
    assert response.content.decode().count(TOO_LONG) == 1
    assert "1 execution" in response.content.decode()
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_memory_does_not_grow_with_the_list(
    admin_client: Client, make_run: Make, kind: str
) -> None:
    """Some 50 MB, of which never more than a chunk is there."""
    many(make_run(), 1000, 50_000)
    lines = stream(admin_client, kind)
    assert next(lines)
    tracemalloc.start()
    try:
        size = sum(len(line) for line in lines)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 49_000_000
    assert peak < 10_000_000


def ids(lines: Iterator[bytes]) -> list[str]:
    return [json.loads(line)["id"] for line in lines]


@pytest.mark.parametrize("order", ["", "0", "-0", "2"])
def test_each_run_comes_once_in_the_order_of_the_list(
    admin_client: Client, make_run: Make, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """Also those of one moment, and over the ends of pages."""
    monkeypatch.setattr(export, "PAGE", 7)
    monkeypatch.setattr(export, "CHUNK", 3)
    many(make_run(), 30, 32)
    Execution.objects.filter(pk__startswith="copy1").update(
        created_at=timezone.now() - timedelta(hours=1)
    )
    expected = ("created_at", "-pk") if order == "0" else ("-created_at", "-pk")
    runs = Execution.objects.order_by(*expected)
    query = f"?o={order}" if order else ""
    found = ids(stream(admin_client, "jsonl", query))
    assert found == list(runs.values_list("pk", flat=True))
    if order != "2":
        shown = admin_client.get(LIST + query).context["cl"].result_list
        assert found == [run.pk for run in shown]


@pytest.mark.parametrize("order", ["0", "-0"])
def test_what_comes_and_goes_meanwhile_repeats_and_shifts_nothing(
    admin_client: Client, make_run: Make, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    monkeypatch.setattr(export, "PAGE", 4)
    monkeypatch.setattr(export, "CHUNK", 2)
    runs = [make_run() for _ in range(12)]
    expected = [run.pk for run in runs]
    if order == "-0":
        expected.reverse()
    lines = stream(admin_client, "jsonl", f"?o={order}&status__exact=succeeded")
    found = ids(iter([next(lines)]))
    for _ in range(5):
        make_run()
    Execution.objects.filter(pk=expected[-1]).update(status=Execution.Status.FAILED)
    assert found + ids(lines) == expected[:-1]


@pytest.mark.django_db(transaction=True)
def test_who_reads_slowly_holds_no_snapshot(admin_client: Client, make_run: Make) -> None:
    for _ in range(3):
        make_run()
    lines = stream(admin_client, "jsonl")
    assert next(lines)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        own = cursor.fetchone()[0]
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute(
                "SELECT xact_start, backend_xmin FROM pg_stat_activity WHERE pid = %s", [own]
            )
            assert cursor.fetchone() == (None, None)
    finally:
        other.close()
    assert len(list(lines)) == 2
