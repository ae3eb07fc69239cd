from __future__ import annotations

import re
from html import unescape
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import highlighting
from audit.highlighting import LEXERS, MAX_LENGTH, MAX_LINE, highlighted

SPAN = r'<span class="[a-z0-9]+">'


def plain(html: str) -> str:
    """As a browser shows it; anything but Pygments' own elements stays and differs."""
    return unescape(re.sub(SPAN, "", html).replace("</span>", ""))


@pytest.mark.parametrize(
    ("language", "code", "token"),
    [
        ("py", "def f(): return 'x'  # why", '<span class="k">def</span>'),
        ("bash", "for x in 1 2; do echo $x; done", '<span class="k">for</span>'),
        ("js", "const x = `${1}`", '<span class="kd">const</span>'),
    ],
)
def test_code_has_colours(language: str, code: str, token: str) -> None:
    html = highlighted(code, language)
    assert html is not None
    assert token in html
    assert plain(html) == code


@given(st.sampled_from(sorted(LEXERS)), st.text(alphabet=st.characters(exclude_characters="\r")))
def test_it_shows_the_code_and_no_element_of_it(language: str, code: str) -> None:
    html = highlighted(code, language)
    if html is not None:
        assert plain(html) == code
        assert "style=" not in re.sub(r">[^<]*<", "><", html)


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("x = 1\n" * (MAX_LENGTH // 6 + 1), "py"),
        ("x" * (MAX_LINE + 1), "py"),
        ("puts 1", "rb"),
        ("<b>", ""),
    ],
)
def test_what_is_long_or_unknown_is_plain(code: str, language: str) -> None:
    assert highlighted(code, language) is None


def test_what_takes_long_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr(highlighting, "monotonic", lambda: float(next(ticks)))
    assert highlighted("x = 1", "py") is None
