"""Output to a terminal or a log: tables without wrapping, and untrusted text without control
characters.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_CONTROLS = {*range(0x20), *range(0x7F, 0xA0)}  # C0 with ESC and newlines, DEL, C1
# characters that change the direction of text
_ORDER = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
_LINES = {0x2028, 0x2029}
_ESCAPES = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    for code in _CONTROLS | _ORDER | _LINES
}
_BUT_NEWLINES = {code: text for code, text in _ESCAPES.items() if code != ord("\n")}


def printable(text: str) -> str:
    """Return `text` in one line, with control characters written as \\x1b or \\u202e."""
    return text.translate(_ESCAPES)


def printable_lines(text: str) -> str:
    """Return `text` as `printable` does, but keep its line breaks."""
    return text.translate(_BUT_NEWLINES)


def is_text(text: str) -> bool:
    """Return whether a text can be stored in files: without NUL, and without lone surrogates, which
    Python uses for names that are not UTF-8.
    """
    return "\0" not in text and not any(0xD800 <= ord(sign) < 0xE000 for sign in text)


def two_digits(number: float) -> str:
    """Return a number rounded to two significant digits, without an exponent below a million.

    Example:
        >>> two_digits(0.994), two_digits(99.7), two_digits(1234.5)
        ('0.99', '100', '1200')
    """
    return f"{float(f'{number:.2g}'):g}"


UNLIMITED_WIDTH = 10_000
"""Columns of a pipe or a file, which needs no wrapping."""


def console(*, markup: bool = True) -> "Console":
    """Return a console on standard output, as wide as the terminal or, for a pipe, unlimited.

    Untrusted text may be printed: no control character reaches the terminal.
    """
    from rich.console import Console
    from rich.text import Text

    class Printable(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(printable_lines(text), **options)

    made = Printable(highlight=False, markup=markup)
    if not made.is_terminal:
        made.width = UNLIMITED_WIDTH
    return made
