from __future__ import annotations

import pytest
from django.template import Context, Template

from keys.visible import visible


def test_plain_text_stays_as_it_is() -> None:
    text = "def f():\n\treturn 'Größe 🎉'\n"
    assert visible(text) == text


def test_windows_line_ends_are_line_ends() -> None:
    assert visible("a\r\nb") == "a\nb"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "␛[31mred"),
        ("print(1)\rsafe()", "print(1)␍safe()"),
        ("a\x00b\x7f", "a␀b␡"),
        ("if x:\u202e # }", "if x:⟨U+202E⟩ # }"),
        ("invoice\u202efdp.exe", "invoice⟨U+202E⟩fdp.exe"),
        ("\u2066a\u2069", "⟨U+2066⟩a⟨U+2069⟩"),
    ],
)
def test_nothing_hides_or_reorders_code(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_it_is_escaped_all_the_same() -> None:
    template = Template("{% load visible %}{{ code|visible }}")
    assert template.render(Context({"code": "<b>"})) == "&lt;b&gt;"
