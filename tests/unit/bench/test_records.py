from __future__ import annotations

from bench.records import conninfo, median_steps


def test_steps_are_told_in_the_order_of_a_request() -> None:
    rows = [
        {"run": 10.0, "session": 1.0, "program": 8, "other": None},
        {"run": 30.0, "session": 3.0, "program": None, "new_step": 5.0},
    ]
    found = median_steps(rows)
    assert list(found.items()) == [
        ("session", 2.0),
        ("run", 20.0),
        ("program", 8),
        ("new_step", 5.0),
    ]


def test_a_database_at_a_socket_in_a_directory_with_odd_characters_is_found() -> None:
    url = "postgres://interpreter@//srv/some%20place/db/interpreter"
    assert conninfo(url) == "host='/srv/some place/db' dbname=interpreter user=interpreter"
