from __future__ import annotations

from pathlib import Path

import pytest

from bench.__main__ import without_key
from bench.arguments import parse
from bench.cases import NAMES


def test_without_arguments_everything_is_measured_on_a_service_of_its_own() -> None:
    options = parse([])
    assert options.base_url == ""
    assert options.cases == set(NAMES)
    assert (options.rounds, options.seconds, options.docker) == (50, 60, True)
    assert (options.json, options.plot) == (None, None)


def test_only_can_be_repeated() -> None:
    assert parse(["--only", "print", "--only", "memory"]).cases == {"print", "memory"}


def test_quick_yields_to_what_is_given() -> None:
    quick = parse(["--quick"])
    assert (quick.rounds, quick.seconds) == (5, 5)
    given = parse(["--quick", "--rounds", "7", "--seconds", "1.5"])
    assert (given.rounds, given.seconds) == (7, 1.5)


def test_the_admin_is_measured_over_a_million_executions_or_as_many_as_are_asked_for() -> None:
    assert not parse([]).admin
    assert parse(["--admin"]).executions == 1_000_000
    assert parse(["--admin", "--executions", "10"]).executions == 10


def test_files_are_paths() -> None:
    options = parse(["--json", "a.json", "--plot", "b.png"])
    assert (options.json, options.plot) == (Path("a.json"), Path("b.png"))


def test_of_another_server_only_what_it_shows_is_measured() -> None:
    options = parse(["--base-url", "http://127.0.0.1:8000/v1", "--api-key", "k"])
    assert options.api_key == "k"
    assert options.cases == set(NAMES) - {"start", "memory", "libraries"}


def test_the_key_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_API_KEY", "from there")
    assert parse(["--base-url", "http://127.0.0.1"]).api_key == "from there"
    assert parse(["--base-url", "http://127.0.0.1", "--api-key", "k"]).api_key == "k"
    assert parse([]).api_key == ""


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--only", "nothing"], "invalid choice"),
        (["--rounds", "0"], "whole number above 0"),
        (["--rounds", "-3"], "whole number above 0"),
        (["--rounds", "2.5"], "whole number above 0"),
        (["--seconds", "0"], "number above 0"),
        (["--seconds", "nan"], "number above 0"),
        (["--seconds", "inf"], "number above 0"),
        (["--base-url", "localhost:8000"], "http://"),
        (["--base-url", "ftp://localhost"], "http://"),
        (["--base-url", "http://"], "http://"),
        (["--base-url", "http://localhost:99999"], "http://"),
        (["--api-key", "k"], "needs --base-url"),
        (["--base-url", "http://localhost", "--only", "memory"], "not of another server"),
        (["--admin", "--only", "print"], "pages of its own"),
        (["--admin", "--base-url", "http://localhost"], "pages of its own"),
        (["--executions", "10"], "needs --admin"),
        (["--admin", "--executions", "0"], "whole number above 0"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse(arguments)
    assert exit_.value.code == 2
    assert reason in capsys.readouterr().err


def test_a_report_does_not_tell_the_key() -> None:
    arguments = ["--base-url", "http://any:secret@host", "--api-key=secret", "--rounds", "3"]
    assert without_key(arguments) == ["--base-url", "…", "--api-key=…", "--rounds", "3"]
    assert without_key(["--api-key", "secret"]) == ["--api-key", "…"]
