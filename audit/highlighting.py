"""Code in colours, by classes: no style of its own is let into a page."""

from __future__ import annotations

from io import StringIO
from time import monotonic
from typing import TYPE_CHECKING

from django.utils.safestring import SafeString, mark_safe
from pygments.formatters.html import HtmlFormatter
from pygments.lexers.javascript import JavascriptLexer
from pygments.lexers.python import PythonLexer
from pygments.lexers.shell import BashLexer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pygments.lexer import Lexer
    from pygments.token import _TokenType

LEXERS: dict[str, type[Lexer]] = {"py": PythonLexer, "bash": BashLexer, "js": JavascriptLexer}
# A lexer is made of regular expressions, and the code may have been made to keep them busy: what
# is longer, or takes longer, is shown plainly.
MAX_LENGTH = 50_000
MAX_LINE = 2000
SECONDS = 0.5
FORMATTER = HtmlFormatter(nowrap=True)


class _Slow(Exception):
    pass


def highlighted(code: str, language: str) -> SafeString | None:
    """As HTML, or None if it is better shown as plain text."""
    made = LEXERS.get(language)
    if made is None or len(code) > MAX_LENGTH or longest_line(code) > MAX_LINE:
        return None
    if code.startswith("\ufeff"):
        # Pygments would take it away.
        return None
    tokens = made(stripnl=False, ensurenl=False).get_tokens(code)
    html = StringIO()
    try:
        FORMATTER.format(_until(tokens, monotonic() + SECONDS), html)
    except _Slow:
        return None
    # Pygments escapes the text of each token, and ends the last line.
    text = html.getvalue()
    return mark_safe(text if code.endswith("\n") else text.removesuffix("\n"))  # noqa: S308


def longest_line(code: str) -> int:
    return max(map(len, code.split("\n")))


def _until(
    tokens: Iterable[tuple[_TokenType, str]], deadline: float
) -> Iterator[tuple[_TokenType, str]]:
    for token in tokens:
        if monotonic() > deadline:
            raise _Slow
        yield token
