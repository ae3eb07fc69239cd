from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from keys.statements import ask

pytestmark = pytest.mark.django_db

DOUBLED = "SELECT %(number)s * 2, %(name)s::text WHERE %(name)s <> 'nobody'"


def prepared() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements ORDER BY prepare_time")
        return [statement for (statement,) in cursor.fetchall()]


def test_the_first_row_is_the_answer() -> None:
    assert ask("SELECT * FROM generate_series(3, 5)", {}) == (3,)
    assert ask(DOUBLED, {"number": 21, "name": "Alice"}) == (42, "Alice")
    assert ask(DOUBLED, {"number": 21, "name": "nobody"}) is None
    assert ask("SELECT %s::text", ["in order"]) == ("in order",)


def test_a_statement_is_prepared_once_whatever_its_numbers() -> None:
    before = prepared()
    for number in (1, 2, 40_000, 2**40, 3):
        assert ask(DOUBLED, {"number": number, "name": "Alice"}) == (number * 2, "Alice")
    [statement] = [one for one in prepared() if one not in before]
    assert statement == "SELECT $1 * 2, $2::text WHERE $2 <> 'nobody'"


def test_who_debugs_sees_it_each_time() -> None:
    with CaptureQueriesContext(connection) as captured:
        for _ in range(3):
            ask("SELECT %s::int + 1", [1])
    assert len(captured) == 3
    assert all("::int + 1" in query["sql"] for query in captured)
