import pytest

from sandbox.names import is_safe_name, librechat_name


@pytest.mark.parametrize(
    "name",
    ["a.txt", "out/a/b.png", "Übersicht 2026 (1).csv", ".hidden", "a\u2028b", "...", "é" * 127],
)
def test_it_takes_relative_names(name: str) -> None:
    assert is_safe_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "..",
        "a/../b",
        "a//b",
        "a/",
        "./a",
        "a\\b",
        "a\0b",
        "a\nb",
        "\udc80",
        "é" * 128,
        "/".join(["a" * 200] * 6),
    ],
)
def test_it_refuses_what_leads_elsewhere_or_breaks_something(name: str) -> None:
    assert not is_safe_name(name)


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("sales.csv", "sales.csv"),
        ("Übersicht 2026 (1).csv", "_bersicht_2026__1_.csv"),
        ("a/b.csv", "b.csv"),
        (".env", "_.env"),
        ("😀.txt", "__.txt"),
    ],
)
def test_it_knows_what_librechat_makes_of_a_name(name: str, stored: str) -> None:
    assert librechat_name(name) == stored
