"""Text of programs and users, for people who have to judge it."""

from __future__ import annotations

# Control characters show as Unicode's pictures of them, and what reorders text on the screen shows
# as its number: neither can hide code from whoever reads it here.
CONTROLS = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"}
CONTROLS[0x7F] = "\u2421"
REORDERING = {
    code: f"\u27e8U+{code:04X}\u27e9"
    for code in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
TABLE = CONTROLS | REORDERING


def visible(text: str) -> str:
    """Plain text, so that autoescaping still applies to it."""
    return str(text).replace("\r\n", "\n").translate(TABLE)
